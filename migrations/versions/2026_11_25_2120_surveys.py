"""NPS surveys and their answers.

Why: the shop asks members how likely they are to recommend it, and reads the score with how sure it is.
Live: new tables only. Down: drops them.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0045_surveys"
down_revision = "0050_places"
branch_labels = None
depends_on = None

BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Json = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
Instant = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "surveys",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("key", sa.String(40), nullable=False, unique=True),
        sa.Column("title", sa.String(60), nullable=False),
        sa.Column("body", Json, nullable=False),
        sa.Column("starts_at", Instant, nullable=False),
        sa.Column("ends_at", Instant, nullable=True),
        sa.Column("closed_at", Instant, nullable=True),
        sa.Column("changed_at", Instant, nullable=False),
    )
    op.create_table(
        "survey_answers",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("survey_id", BigInt, sa.ForeignKey("surveys.id"), nullable=False),
        sa.Column("member_id", BigInt, sa.ForeignKey("members.id"), nullable=False),
        sa.Column("run_id", BigInt, sa.ForeignKey("campaign_runs.id"), nullable=True),
        sa.Column("score", BigInt, nullable=False),
        sa.Column("comment", sa.Text, nullable=False),
        sa.Column("channel", sa.String(20), nullable=False),
        sa.Column("answered_at", Instant, nullable=False),
        sa.UniqueConstraint("survey_id", "member_id"),
        sa.CheckConstraint("score BETWEEN 0 AND 10", name="score_from_0_to_10"),
    )
    op.create_index("ix_survey_answers_member_id", "survey_answers", ["member_id"])


def downgrade() -> None:
    op.drop_table("survey_answers")
    op.drop_table("surveys")
