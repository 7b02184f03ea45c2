"""Subscriptions: plans and their terms, who subscribed, each delivery, and the reminders of it.

Why: what a member needs again and again comes by itself, and they say in the chat when it shall not.
Live: new tables only; running code ignores them. Down: drops them; orders that were placed stay.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0032_subscriptions"
down_revision = "0031_access"
branch_labels = None
depends_on = None

BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Json = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
Instant = sa.DateTime(timezone=True)


def upgrade() -> None:
    _plans()
    _terms()
    _subscriptions()
    _cycles()
    _reminders()


def _plans() -> None:
    op.create_table(
        "subscription_plans",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("key", sa.String(40), nullable=False, unique=True),
        sa.Column("title", sa.String(60), nullable=False),
        sa.Column("unit", sa.String(40), nullable=False),
        sa.Column("every", BigInt, nullable=False),
        sa.Column("on_holiday", sa.String(40), nullable=False),
        sa.Column("locks_price", sa.Boolean, nullable=False),
        sa.Column("terms_id", BigInt, nullable=True),
        sa.Column("closed_at", Instant, nullable=True),
        sa.Column("created_at", Instant, nullable=False),
        sa.CheckConstraint("every > 0", name=op.f("ck_subscription_plans_comes_again")),
    )


def _terms() -> None:
    op.create_table(
        "subscription_terms",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("plan_id", BigInt, sa.ForeignKey("subscription_plans.id"), nullable=False),
        sa.Column("version", BigInt, nullable=False),
        sa.Column("items", Json, nullable=False),
        sa.Column("price_fen", BigInt, nullable=False),
        sa.Column("gift_every", BigInt, nullable=False),
        sa.Column("set_at", Instant, nullable=False),
        sa.CheckConstraint("gift_every >= 0 AND gift_every <> 1", name=op.f("ck_subscription_terms_gift_after_some")),
        sa.UniqueConstraint("plan_id", "version"),
        sa.CheckConstraint("price_fen >= 0", name=op.f("ck_subscription_terms_price_not_negative")),
    )


def _subscriptions() -> None:
    op.create_table(
        "subscriptions",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("no", sa.String(8), nullable=False, unique=True),
        sa.Column("member_id", BigInt, sa.ForeignKey("members.id"), nullable=False),
        sa.Column("signed_by_id", BigInt, sa.ForeignKey("members.id"), nullable=False),
        sa.Column("plan_id", BigInt, sa.ForeignKey("subscription_plans.id"), nullable=False),
        sa.Column("terms_id", BigInt, sa.ForeignKey("subscription_terms.id"), nullable=False),
        sa.Column("status", sa.String(40), nullable=False),
        sa.Column("mode", sa.String(40), nullable=False),
        sa.Column("quantity", BigInt, nullable=False),
        sa.Column("anchor_on", sa.Date, nullable=False),
        sa.Column("step", BigInt, nullable=False),
        sa.Column("due_on", sa.Date, nullable=False),
        sa.Column("number", BigInt, nullable=False),
        sa.Column("cycle_id", BigInt, nullable=True),
        sa.Column("bought", BigInt, nullable=False),
        sa.Column("address_id", BigInt, nullable=True),
        sa.Column("resumes_on", sa.Date, nullable=True),
        sa.Column("paused_because", sa.String(40), nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("ended_at", Instant, nullable=True),
        sa.Column("ended_because", sa.String(40), nullable=False),
        sa.CheckConstraint(
            "(status = 'cancelled') = (ended_at IS NOT NULL)", name=op.f("ck_subscriptions_ended_at_some_time")
        ),
        sa.CheckConstraint("quantity BETWEEN 1 AND 99", name=op.f("ck_subscriptions_some_and_not_too_many")),
        sa.CheckConstraint("bought >= 0", name=op.f("ck_subscriptions_bought_not_negative")),
    )
    where = sa.text("status = 'active' AND cycle_id IS NULL")
    op.create_index("ix_subscriptions_coming", "subscriptions", ["due_on"], sqlite_where=where, postgresql_where=where)
    op.create_index("ix_subscriptions_member_id", "subscriptions", ["member_id"])
    op.create_index("ix_subscriptions_plan_id_status", "subscriptions", ["plan_id", "status"])
    where = sa.text("resumes_on IS NOT NULL")
    op.create_index(
        "ix_subscriptions_resuming", "subscriptions", ["resumes_on"], sqlite_where=where, postgresql_where=where
    )
    where = sa.text("status <> 'cancelled'")
    op.create_index(
        "uq_subscriptions_living",
        "subscriptions",
        ["signed_by_id", "plan_id"],
        unique=True,
        sqlite_where=where,
        postgresql_where=where,
    )


def _cycles() -> None:
    op.create_table(
        "subscription_cycles",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("subscription_id", BigInt, sa.ForeignKey("subscriptions.id"), nullable=False),
        sa.Column("member_id", BigInt, sa.ForeignKey("members.id"), nullable=False),
        sa.Column("number", BigInt, nullable=False),
        sa.Column("due_on", sa.Date, nullable=False),
        sa.Column("status", sa.String(40), nullable=False),
        sa.Column("terms_id", BigInt, sa.ForeignKey("subscription_terms.id"), nullable=False),
        sa.Column("quantity", BigInt, nullable=False),
        sa.Column("price_fen", BigInt, nullable=False),
        sa.Column("is_gift", sa.Boolean, nullable=False),
        sa.Column("order_no", sa.String(24), nullable=False),
        sa.Column("remind_on", sa.Date, nullable=True),
        sa.Column("ordered_at", Instant, nullable=True),
        sa.Column("ordered_by", sa.String(20), nullable=False),
        sa.Column("closed_at", Instant, nullable=True),
        sa.Column("transaction_id", sa.String(64), nullable=True),
        sa.UniqueConstraint("subscription_id", "number"),
        sa.CheckConstraint(
            "(status IN ('announced', 'ordered')) = (closed_at IS NULL)",
            name=op.f("ck_subscription_cycles_open_or_closed"),
        ),
        sa.CheckConstraint(
            "status NOT IN ('ordered', 'paid', 'unpaid', 'refunded') OR ordered_at IS NOT NULL",
            name=op.f("ck_subscription_cycles_ordered_first"),
        ),
    )
    where = sa.text("status = 'announced'")
    op.create_index(
        "ix_subscription_cycles_announced",
        "subscription_cycles",
        ["due_on"],
        sqlite_where=where,
        postgresql_where=where,
    )
    op.create_index("ix_subscription_cycles_due_on", "subscription_cycles", ["due_on"])
    op.create_index("ix_subscription_cycles_member_id", "subscription_cycles", ["member_id"])
    op.create_index("ix_subscription_cycles_order_no", "subscription_cycles", ["order_no"], unique=True)
    where = sa.text("remind_on IS NOT NULL")
    op.create_index(
        "ix_subscription_cycles_reminding",
        "subscription_cycles",
        ["remind_on"],
        sqlite_where=where,
        postgresql_where=where,
    )
    where = sa.text("closed_at IS NULL")
    op.create_index(
        "uq_subscription_cycles_open",
        "subscription_cycles",
        ["subscription_id"],
        unique=True,
        sqlite_where=where,
        postgresql_where=where,
    )


def _reminders() -> None:
    op.create_table(
        "subscription_reminders",
        sa.Column("cycle_id", BigInt, sa.ForeignKey("subscription_cycles.id"), primary_key=True),
        sa.Column("due_on", sa.Date, primary_key=True),
        sa.Column("step", sa.String(10), primary_key=True),
        sa.Column("member_id", BigInt, sa.ForeignKey("members.id"), nullable=False),
        sa.Column("remind_on", sa.Date, nullable=False),
        sa.Column("status", sa.String(40), nullable=False),
        sa.Column("way", sa.String(40), nullable=True),
        sa.Column("run_id", BigInt, nullable=True),
        sa.Column("outbox_key", sa.String(64), nullable=True),
        sa.Column("trail", Json, nullable=False),
        sa.Column("look_at", Instant, nullable=True),
        sa.Column("sent_at", Instant, nullable=True),
        sa.CheckConstraint(
            "(status IN ('due', 'queued')) = (look_at IS NOT NULL)",
            name=op.f("ck_subscription_reminders_open_ones_are_looked_at"),
        ),
    )
    op.create_index("ix_subscription_reminders_member_id", "subscription_reminders", ["member_id"])
    where = sa.text("look_at IS NOT NULL")
    op.create_index(
        "ix_subscription_reminders_open",
        "subscription_reminders",
        ["look_at"],
        sqlite_where=where,
        postgresql_where=where,
    )
    op.create_index("ix_subscription_reminders_remind_on_status", "subscription_reminders", ["remind_on", "status"])


def downgrade() -> None:
    for table in (
        "subscription_reminders",
        "subscription_cycles",
        "subscriptions",
        "subscription_terms",
        "subscription_plans",
    ):
        op.drop_table(table)
