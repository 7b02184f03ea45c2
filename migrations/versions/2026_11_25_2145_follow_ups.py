"""Follow-up visits: whom staff shall ask, until when, and what came of it.

Why: customers who matter are asked how things are, again and again, and somebody sees whether it was done.
Live: new tables only. Down: drops them.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0048_follow_ups"
down_revision = "0041_job_marks"
branch_labels = None
depends_on = None

BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Json = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
Instant = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "follow_up_rules",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("key", sa.String(60), nullable=False, unique=True),
        sa.Column("body", Json, nullable=False),
        sa.Column("handed_on", sa.Date, nullable=True),
        sa.Column("closed_at", Instant, nullable=True),
        sa.Column("changed_at", Instant, nullable=False),
    )
    op.create_table(
        "follow_ups",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("rule_id", BigInt, sa.ForeignKey("follow_up_rules.id"), nullable=False),
        sa.Column("member_id", BigInt, sa.ForeignKey("members.id"), nullable=False),
        sa.Column("userid", sa.String(64), nullable=False),
        sa.Column("made_on", sa.Date, nullable=False),
        sa.Column("due_on", sa.Date, nullable=False),
        sa.Column("result", sa.String(40), nullable=True),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("done_by", sa.String(64), nullable=False),
        sa.Column("done_at", Instant, nullable=True),
        sa.CheckConstraint("(done_at IS NULL) = (result IS NULL)", name="done_with_a_result"),
    )
    is_open = sa.text("done_at IS NULL")
    op.create_index(
        "uq_follow_ups_open",
        "follow_ups",
        ["rule_id", "member_id"],
        unique=True,
        sqlite_where=is_open,
        postgresql_where=is_open,
    )
    op.create_index("ix_follow_ups_member_id", "follow_ups", ["member_id"])
    op.create_index("ix_follow_ups_rule_id_made_on", "follow_ups", ["rule_id", "made_on"])


def downgrade() -> None:
    op.drop_table("follow_ups")
    op.drop_table("follow_up_rules")
