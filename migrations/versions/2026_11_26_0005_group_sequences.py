"""Step sequences of customer groups.

Why: a new group is told something on its first, third and seventh day, and no step of it twice.
Live: new tables only. Down: drops them; posts that were made stay.
"""

import sqlalchemy as sa
from alembic import op

revision = "0062_group_sequences"
down_revision = "0061_coupon_grants"
branch_labels = None
depends_on = None

BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Instant = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "group_enrolments",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("campaign_id", BigInt, sa.ForeignKey("campaigns.id"), nullable=False),
        sa.Column("version", BigInt, nullable=False),
        sa.Column("group_id", BigInt, sa.ForeignKey("customer_groups.id"), nullable=False),
        sa.Column("status", sa.String(40), nullable=False),
        sa.Column("step", sa.SmallInteger, nullable=False),
        sa.Column("phase", sa.String(40), nullable=False),
        sa.Column("due_at", Instant, nullable=True),
        sa.Column("run_id", BigInt, nullable=True),
        sa.Column("entered_at", Instant, nullable=False),
        sa.Column("day_zero", sa.Date, nullable=False),
        sa.Column("ended_at", Instant, nullable=True),
        sa.Column("because", sa.String(60), nullable=False),
        sa.UniqueConstraint("campaign_id", "group_id"),
        sa.CheckConstraint("(status = 'active') = (due_at IS NOT NULL)", name="active_is_due"),
        sa.CheckConstraint("(status = 'active') = (ended_at IS NULL)", name="end_is_whole"),
    )
    is_due = sa.text("due_at IS NOT NULL")
    op.create_index(
        "ix_group_enrolments_due", "group_enrolments", ["due_at"], sqlite_where=is_due, postgresql_where=is_due
    )
    op.create_table(
        "group_enrolment_steps",
        sa.Column("enrolment_id", BigInt, primary_key=True, autoincrement=False),
        sa.Column("step", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("group_id", BigInt, nullable=False),
        sa.Column("run_id", BigInt, nullable=True),
        sa.Column("planned_on", sa.Date, nullable=False),
        sa.Column("at", Instant, nullable=False),
        sa.Column("reason", sa.String(60), nullable=True),
    )
    op.create_index("ix_group_enrolment_steps_run_id", "group_enrolment_steps", ["run_id"])


def downgrade() -> None:
    op.drop_table("group_enrolment_steps")
    op.drop_table("group_enrolments")
