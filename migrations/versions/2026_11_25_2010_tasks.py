"""Community tasks, answers to them, and what each brought.

Why: quizzes, votes and days in a row are rewarded once a person, within a budget.
Live: new tables only. Down: drops them; points and coupons that were given stay.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0030_tasks"
down_revision = "0023_bills"
branch_labels = None
depends_on = None

BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Json = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
Instant = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "community_tasks",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("key", sa.String(40), nullable=False, unique=True),
        sa.Column("title", sa.String(60), nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("body", Json, nullable=False),
        sa.Column("version", BigInt, nullable=False),
        sa.Column("starts_at", Instant, nullable=False),
        sa.Column("ends_at", Instant, nullable=True),
        sa.Column("most_rewards", BigInt, nullable=True),
        sa.Column("budget_points", BigInt, nullable=True),
        sa.Column("entered", BigInt, nullable=False),
        sa.Column("rewarded", BigInt, nullable=False),
        sa.Column("spent_points", BigInt, nullable=False),
        sa.Column("closed_at", Instant, nullable=True),
        sa.Column("changed_at", Instant, nullable=False),
        sa.CheckConstraint("most_rewards IS NULL OR rewarded <= most_rewards", name="rewards_within_limit"),
        sa.CheckConstraint("budget_points IS NULL OR spent_points <= budget_points", name="points_within_budget"),
        sa.CheckConstraint("entered >= 0 AND rewarded >= 0 AND spent_points >= 0", name="never_below_zero"),
    )
    op.create_table(
        "task_entries",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("task_id", BigInt, sa.ForeignKey("community_tasks.id"), nullable=False),
        sa.Column("member_id", BigInt, sa.ForeignKey("members.id"), nullable=False),
        sa.Column("version", BigInt, nullable=False),
        sa.Column("choices", Json, nullable=False),
        sa.Column("choice", BigInt, nullable=False),
        sa.Column("score", BigInt, nullable=False),
        sa.Column("is_passed", sa.Boolean, nullable=False),
        sa.Column("channel", sa.String(20), nullable=False),
        sa.Column("entered_at", Instant, nullable=False),
        sa.UniqueConstraint("task_id", "member_id"),
    )
    op.create_index("ix_task_entries_member_id", "task_entries", ["member_id"])
    op.create_table(
        "task_rewards",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("task_id", BigInt, sa.ForeignKey("community_tasks.id"), nullable=False),
        sa.Column("member_id", BigInt, sa.ForeignKey("members.id"), nullable=False),
        sa.Column("step", sa.String(80), nullable=False),
        sa.Column("points", BigInt, nullable=False),
        sa.Column("coupon_id", BigInt, sa.ForeignKey("coupons.id"), nullable=True),
        sa.Column("given_at", Instant, nullable=False),
        sa.UniqueConstraint("task_id", "member_id", "step"),
    )
    op.create_index("ix_task_rewards_member_id", "task_rewards", ["member_id"])


def downgrade() -> None:
    for table in ("task_rewards", "task_entries", "community_tasks"):
        op.drop_table(table)
