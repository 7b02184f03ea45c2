"""Step sequences: who is in one, under which version of it, and the steps each has had.

Why: a sequence goes on for days, and nobody gets a step of it twice, whatever happens meanwhile.
Live: new tables only; running code ignores them. Down: drops them; deliveries that were made stay.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0038_sequences"
down_revision = "0037_replenishment"
branch_labels = None
depends_on = None

BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Json = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
Instant = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "sequence_versions",
        sa.Column("campaign_id", BigInt, sa.ForeignKey("campaigns.id"), primary_key=True, autoincrement=False),
        sa.Column("version", BigInt, primary_key=True, autoincrement=False),
        sa.Column("definition", Json, nullable=False),
    )
    op.create_table(
        "enrolments",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("campaign_id", BigInt, sa.ForeignKey("campaigns.id"), nullable=False),
        sa.Column("version", BigInt, nullable=False),
        sa.Column("member_id", BigInt, sa.ForeignKey("members.id"), nullable=False),
        sa.Column("status", sa.String(40), nullable=False),
        sa.Column("step", sa.SmallInteger, nullable=False),
        sa.Column("phase", sa.String(40), nullable=False),
        sa.Column("due_at", Instant, nullable=True),
        sa.Column("waits_since", Instant, nullable=True),
        sa.Column("run_id", BigInt, nullable=True),
        sa.Column("entered_at", Instant, nullable=False),
        sa.Column("day_zero", sa.Date, nullable=False),
        sa.Column("ended_at", Instant, nullable=True),
        sa.Column("because", sa.String(60), nullable=False),
        sa.CheckConstraint("(status = 'active') = (due_at IS NOT NULL)", name="active_is_due"),
        sa.CheckConstraint("(status = 'active') = (ended_at IS NULL)", name="end_is_whole"),
    )
    _partial_index("uq_enrolments_active", ["campaign_id", "member_id"], "status = 'active'", unique=True)
    _partial_index("ix_enrolments_due", ["due_at"], "due_at IS NOT NULL")
    op.create_index("ix_enrolments_member_id", "enrolments", ["member_id"])
    op.create_index("ix_enrolments_campaign_id_status", "enrolments", ["campaign_id", "status"])
    op.create_table(
        "enrolment_steps",
        sa.Column("enrolment_id", BigInt, primary_key=True, autoincrement=False),
        sa.Column("step", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("member_id", BigInt, nullable=False),
        sa.Column("run_id", BigInt, nullable=True),
        sa.Column("planned_on", sa.Date, nullable=False),
        sa.Column("at", Instant, nullable=False),
        sa.Column("reason", sa.String(60), nullable=True),
    )
    op.create_index("ix_enrolment_steps_run_id_member_id", "enrolment_steps", ["run_id", "member_id"])
    op.create_index("ix_enrolment_steps_member_id", "enrolment_steps", ["member_id"])


def _partial_index(name: str, columns: list[str], where: str, *, unique: bool = False) -> None:
    only = sa.text(where)
    op.create_index(name, "enrolments", columns, unique=unique, sqlite_where=only, postgresql_where=only)


def downgrade() -> None:
    op.drop_table("enrolment_steps")
    op.drop_table("enrolments")
    op.drop_table("sequence_versions")
