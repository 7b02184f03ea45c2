"""Campaigns, their runs, deliveries and mass sends, and what they sold.

Why: whom the shop wanted to contact, and what became of each, is a row before anything leaves.
Live: new tables only; running code ignores them. Down: drops them with their history.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0017_campaigns"
down_revision = "0017_privacy"
branch_labels = None
depends_on = None

BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Json = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
Instant = sa.DateTime(timezone=True)


def upgrade() -> None:
    _campaigns()
    _runs()
    _deliveries()
    _broadcasts()
    op.create_table(
        "conversions",
        sa.Column("order_id", BigInt, sa.ForeignKey("orders.id"), primary_key=True, autoincrement=False),
        sa.Column("run_id", BigInt, sa.ForeignKey("campaign_runs.id"), nullable=False),
        sa.Column("member_id", BigInt, nullable=False),
        sa.Column("touched_at", Instant, nullable=False),
        sa.Column("paid_at", Instant, nullable=False),
    )
    op.create_index("ix_conversions_run_id", "conversions", ["run_id"])


def _campaigns() -> None:
    op.create_table(
        "campaigns",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("name", sa.String(60), nullable=False, unique=True),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("status", sa.String(40), nullable=False),
        sa.Column("definition", Json, nullable=False),
        sa.Column("version", BigInt, nullable=False),
        sa.Column("created_by", sa.String(64), nullable=False),
        sa.Column("reviewed_by", sa.String(64), nullable=False),
        sa.Column("review_because", sa.Text, nullable=False),
        sa.Column("paused_because", sa.Text, nullable=False),
        sa.Column("next_fire_at", Instant, nullable=True),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("changed_at", Instant, nullable=False),
    )
    _partial_index("ix_campaigns_due", "campaigns", ["next_fire_at"], "next_fire_at IS NOT NULL")


def _runs() -> None:
    op.create_table(
        "campaign_runs",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("campaign_id", BigInt, sa.ForeignKey("campaigns.id"), nullable=False),
        sa.Column("occurrence", sa.String(40), nullable=False),
        sa.Column("status", sa.String(40), nullable=False),
        sa.Column("definition", Json, nullable=False),
        sa.Column("due_at", Instant, nullable=False),
        sa.Column("ticked_at", Instant, nullable=False),
        sa.Column("asks_because", sa.Text, nullable=False),
        sa.Column("cursor", BigInt, nullable=False),
        sa.Column("last_id", BigInt, nullable=False),
        sa.Column("sent", BigInt, nullable=False),
        sa.Column("failed", BigInt, nullable=False),
        sa.Column("figures", Json, nullable=True),
        sa.Column("finished_at", Instant, nullable=True),
        sa.UniqueConstraint("campaign_id", "occurrence"),
        sa.CheckConstraint(
            "(status IN ('finished', 'cancelled')) = (finished_at IS NOT NULL)",
            name=op.f("ck_campaign_runs_end_is_whole"),
        ),
    )
    _partial_index("ix_campaign_runs_open", "campaign_runs", ["status", "campaign_id"], "finished_at IS NULL")
    op.create_table(
        "campaign_batches",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("run_id", BigInt, sa.ForeignKey("campaign_runs.id"), nullable=False),
        sa.Column("after_id", BigInt, nullable=False),
        sa.Column("upto_id", BigInt, nullable=False),
        sa.Column("letters", BigInt, nullable=False),
        sa.Column("due_at", Instant, nullable=True),
    )
    _partial_index("ix_campaign_batches_due", "campaign_batches", ["run_id", "due_at"], "due_at IS NOT NULL")


def _deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("run_id", BigInt, primary_key=True, autoincrement=False),
        sa.Column("member_id", BigInt, primary_key=True, autoincrement=False),
        sa.Column("status", sa.String(40), nullable=False),
        sa.Column("variant", sa.SmallInteger, nullable=False),
        sa.Column("tier", sa.SmallInteger, nullable=True),
        sa.Column("channel", sa.String(40), nullable=True),
        sa.Column("reason", sa.String(60), nullable=True),
        sa.Column("sent_at", Instant, nullable=True),
    )


def _broadcasts() -> None:
    op.create_table(
        "broadcasts",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("run_id", BigInt, sa.ForeignKey("campaign_runs.id"), nullable=False),
        sa.Column("staff_id", BigInt, sa.ForeignKey("staff.id"), nullable=False),
        sa.Column("variant", sa.SmallInteger, nullable=False),
        sa.Column("tier", sa.SmallInteger, nullable=True),
        sa.Column("status", sa.String(40), nullable=False),
        sa.Column("outbox_key", sa.String(64), nullable=False, unique=True),
        sa.Column("msgid", sa.String(200), nullable=True, unique=True),
        sa.Column("waiting_since", Instant, nullable=False),
        sa.Column("asked_at", Instant, nullable=True),
        sa.Column("confirmed_at", Instant, nullable=True),
        sa.Column("ended_at", Instant, nullable=True),
        sa.Column("reminders", sa.SmallInteger, nullable=False),
        sa.Column("poll_at", Instant, nullable=True),
        sa.Column("error", sa.Text, nullable=False),
        sa.CheckConstraint(
            "(status IN ('done', 'failed')) = (poll_at IS NULL)", name=op.f("ck_broadcasts_open_ones_are_polled")
        ),
    )
    op.create_index("ix_broadcasts_run_id", "broadcasts", ["run_id"])
    _partial_index("ix_broadcasts_open", "broadcasts", ["poll_at"], "poll_at IS NOT NULL")
    op.create_table(
        "broadcast_copies",
        sa.Column("run_id", BigInt, primary_key=True, autoincrement=False),
        sa.Column("member_id", BigInt, primary_key=True, autoincrement=False),
        sa.Column("staff_id", BigInt, nullable=False),
        sa.Column("variant", sa.SmallInteger, nullable=False),
        sa.Column("tier", sa.SmallInteger, nullable=True),
        sa.Column("external_userid", sa.String(64), nullable=False),
        sa.Column("broadcast_id", BigInt, nullable=True),
    )
    _partial_index("ix_broadcast_copies_loose", "broadcast_copies", ["run_id", "staff_id"], "broadcast_id IS NULL")
    op.create_index(
        "ix_broadcast_copies_broadcast_id_external_userid", "broadcast_copies", ["broadcast_id", "external_userid"]
    )


def _partial_index(name: str, table: str, columns: list[str], where: str) -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns, sqlite_where=condition, postgresql_where=condition)


def downgrade() -> None:
    for table in (
        "conversions", "broadcast_copies", "broadcasts", "deliveries", "campaign_batches", "campaign_runs",
        "campaigns",
    ):  # fmt: skip
        op.drop_table(table)
