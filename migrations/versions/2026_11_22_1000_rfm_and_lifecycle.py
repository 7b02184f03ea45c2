"""RFM scores and snapshots, lifecycle stages and moves, member dates; orders found by the day they were paid.

Why: who the members are now, and who they were on another day.
Live: adds tables and an index; running code ignores them. Down: drops them with the history of scores and stages.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010_rfm"
down_revision = "0009_orders"
branch_labels = None
depends_on = None

BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Json = sa.JSON(none_as_null=True).with_variant(sa.dialects.postgresql.JSONB(none_as_null=True), "postgresql")
Instant = sa.DateTime(timezone=True)
Word = sa.String(40)
TABLES = ("member_rfm", "rfm_snapshots", "rfm_changes", "member_stages", "stage_moves", "member_dates")


def upgrade() -> None:
    op.create_index("ix_orders_paid_on", "orders", ["paid_on"])
    _rfm()
    _stages()
    op.create_table(
        "member_dates",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("member_id", BigInt, sa.ForeignKey("members.id"), nullable=False),
        sa.Column("kind", Word, nullable=False),
        sa.Column("whose", Word, nullable=False),
        sa.Column("month", sa.SmallInteger, nullable=False),
        sa.Column("day", sa.SmallInteger, nullable=False),
        sa.Column("year", sa.SmallInteger, nullable=True),
        sa.Column("next_on", sa.Date, nullable=False),
        sa.Column("told_on", sa.Date, nullable=True),
        sa.UniqueConstraint("member_id", "kind", "whose"),
        sa.CheckConstraint("month BETWEEN 1 AND 12 AND day BETWEEN 1 AND 31", name="day_of_a_year"),
    )
    op.create_index("ix_member_dates_next_on", "member_dates", ["next_on"])


def _rfm() -> None:
    op.create_table(
        "member_rfm",
        sa.Column("member_id", BigInt, sa.ForeignKey("members.id"), primary_key=True, autoincrement=False),
        sa.Column("frequency", BigInt, nullable=False),
        sa.Column("monetary_fen", BigInt, nullable=False),
        sa.Column("last_paid_day", BigInt, nullable=True),
        *(sa.Column(name, sa.SmallInteger, nullable=True) for name in "rfm"),
        sa.Column("segment", Word, nullable=True),
        sa.Column("snapshot_code", BigInt, nullable=False),
        sa.CheckConstraint("frequency >= 0", name="frequency_not_negative"),
        sa.CheckConstraint("(frequency > 0) = (last_paid_day IS NOT NULL)", name="orders_have_a_last_day"),
        sa.CheckConstraint("frequency > 0 OR (r IS NULL AND segment IS NULL)", name="scored_by_orders"),
    )
    op.create_table(
        "rfm_snapshots",
        sa.Column("taken_on", sa.Date, primary_key=True),
        sa.Column("window_days", BigInt, nullable=False),
        sa.Column("members", BigInt, nullable=False),
        sa.Column("moved", BigInt, nullable=False),
        sa.Column("cutoffs", Json, nullable=True),
        sa.Column("taken_at", Instant, nullable=False),
    )
    op.create_table(
        "rfm_changes",
        sa.Column("member_id", BigInt, sa.ForeignKey("members.id"), primary_key=True, autoincrement=False),
        sa.Column("taken_on", sa.Date, primary_key=True),
        sa.Column("code", BigInt, nullable=False),
    )


def _stages() -> None:
    op.create_table(
        "member_stages",
        sa.Column("member_id", BigInt, sa.ForeignKey("members.id"), primary_key=True, autoincrement=False),
        sa.Column("stage", Word, nullable=False),
        sa.Column("since_on", sa.Date, nullable=False),
        sa.Column("check_on", sa.Date, nullable=True),
        sa.Column("rhythm_days", sa.Float, nullable=True),
    )
    op.create_index("ix_member_stages_check_on", "member_stages", ["check_on"])
    op.create_table(
        "stage_moves",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("member_id", BigInt, sa.ForeignKey("members.id"), nullable=False),
        sa.Column("from_stage", Word, nullable=True),
        sa.Column("to_stage", Word, nullable=False),
        sa.Column("reason", Word, nullable=False),
        sa.Column("facts", Json, nullable=False),
        sa.Column("moved_at", Instant, nullable=False),
    )
    op.create_index("ix_stage_moves_member_id_moved_at", "stage_moves", ["member_id", "moved_at"])
    op.create_index("ix_stage_moves_moved_at", "stage_moves", ["moved_at"])


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)
    op.drop_index("ix_orders_paid_on", "orders")
