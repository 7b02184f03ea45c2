"""Payments, refunds and cancellations of orders, news that came too early, and each member's totals.

Why: refunds arrive in parts and out of order, and RFM needs what a member really spent, on which shop-local day.
Live: running code must be stopped: orders without `told_at` are refused. Down: partly refunded orders become paid
ones; refunds, early news and totals are lost.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009_orders"
down_revision = "0008_faq"
branch_labels = None
depends_on = None

BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Json = sa.JSON(none_as_null=True).with_variant(sa.dialects.postgresql.JSONB(none_as_null=True), "postgresql")
Instant = sa.DateTime(timezone=True)
Word = sa.String(40)

BEFORE = {
    "total_not_negative": "total_fen >= 0",
    "paid_orders_have_their_instant": "(status IN ('paid', 'refunded')) = (paid_at IS NOT NULL)",
}
AFTER = {
    "total_not_negative": "total_fen >= 0",
    "refunds_within_payment": "refunded_fen >= 0 AND refunded_fen <= paid_fen",
    "payment_has_its_day": "(paid_at IS NULL) = (paid_on IS NULL)",
    "payment_has_its_instant": "paid_at IS NOT NULL OR paid_fen = 0",
    "paid_orders_have_their_instant": ("(status IN ('paid', 'partly_refunded', 'refunded')) = (paid_at IS NOT NULL)"),
}
LOCAL_DAY = {
    "sqlite": "date(paid_at, '+8 hours')",
    "postgresql": "(paid_at AT TIME ZONE 'Asia/Shanghai')::date",
}


def upgrade() -> None:
    _lay_lines_aside()
    with op.batch_alter_table("orders") as orders:
        for name in ("paid_fen", "refunded_fen"):
            orders.add_column(sa.Column(name, BigInt, nullable=False, server_default="0"))
        orders.add_column(sa.Column("told_at", Instant, nullable=True))
        orders.add_column(sa.Column("paid_on", sa.Date, nullable=True))
        orders.add_column(sa.Column("cancelled_at", Instant, nullable=True))
        for name in BEFORE:
            orders.drop_constraint(op.f(f"ck_orders_{name}"), type_="check")
    op.execute(
        "UPDATE orders SET told_at = coalesce(paid_at, placed_at),"
        " cancelled_at = CASE WHEN status = 'cancelled' THEN placed_at END,"
        " paid_fen = CASE WHEN paid_at IS NULL THEN 0 ELSE total_fen END,"
        " refunded_fen = CASE WHEN status = 'refunded' THEN total_fen ELSE 0 END,"
        f" paid_on = {LOCAL_DAY[op.get_bind().dialect.name]}"
    )
    with op.batch_alter_table("orders") as orders:
        for name in ("paid_fen", "refunded_fen"):
            orders.alter_column(name, existing_type=BigInt, server_default=None)
        orders.alter_column("told_at", existing_type=Instant, nullable=False)
        for name, rule in AFTER.items():
            orders.create_check_constraint(op.f(f"ck_orders_{name}"), rule)
    _bring_lines_back()
    _refunds()
    _early_news()
    _totals()


def _refunds() -> None:
    op.create_table(
        "refunds",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("member_id", BigInt, sa.ForeignKey("members.id"), nullable=False),
        sa.Column("order_id", BigInt, sa.ForeignKey("orders.id"), nullable=True),
        sa.Column("source", Word, nullable=False),
        sa.Column("external_no", sa.String(64), nullable=False),
        sa.Column("amount_fen", BigInt, nullable=False),
        sa.Column("refunded_at", Instant, nullable=False),
        sa.Column("refunded_on", sa.Date, nullable=False),
        sa.UniqueConstraint("source", "external_no"),
        sa.CheckConstraint("amount_fen > 0", name="amount_positive"),
    )
    op.create_index("ix_refunds_member_id_refunded_at", "refunds", ["member_id", "refunded_at"])
    op.create_index("ix_refunds_order_id", "refunds", ["order_id"])


def _early_news() -> None:
    op.create_table(
        "early_order_news",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("source", Word, nullable=False),
        sa.Column("order_no", sa.String(64), nullable=False),
        sa.Column("kind", Word, nullable=False),
        sa.Column("own_no", sa.String(64), nullable=False),
        sa.Column("body", Json, nullable=False),
        sa.Column("came_at", Instant, nullable=False),
        sa.Column("refused", sa.Text, nullable=False),
        sa.UniqueConstraint("source", "order_no", "kind", "own_no"),
    )


def _totals() -> None:
    op.create_table(
        "member_orders",
        sa.Column("member_id", BigInt, sa.ForeignKey("members.id"), primary_key=True, autoincrement=False),
        sa.Column("orders", BigInt, nullable=False),
        sa.Column("paid_fen", BigInt, nullable=False),
        sa.Column("refunded_fen", BigInt, nullable=False),
        sa.Column("first_paid_at", Instant, nullable=True),
        sa.Column("last_paid_at", Instant, nullable=True),
        sa.Column("last_paid_on", sa.Date, nullable=True),
    )
    counts = "paid_fen > 0 AND refunded_fen < paid_fen"
    op.execute(
        "INSERT INTO member_orders"
        " (member_id, orders, paid_fen, refunded_fen, first_paid_at, last_paid_at, last_paid_on)"
        f" SELECT member_id, sum(CASE WHEN {counts} THEN 1 ELSE 0 END), sum(paid_fen), sum(refunded_fen),"
        f" min(CASE WHEN {counts} THEN paid_at END), max(CASE WHEN {counts} THEN paid_at END),"
        f" max(CASE WHEN {counts} THEN paid_on END)"
        " FROM orders WHERE paid_at IS NOT NULL GROUP BY member_id"
    )


def downgrade() -> None:
    for table in ("member_orders", "early_order_news", "refunds"):
        op.drop_table(table)
    _lay_lines_aside()
    with op.batch_alter_table("orders") as orders:
        for name in AFTER:
            orders.drop_constraint(op.f(f"ck_orders_{name}"), type_="check")
        for name in ("cancelled_at", "paid_on", "told_at", "refunded_fen", "paid_fen"):
            orders.drop_column(name)
    op.execute("UPDATE orders SET status = 'paid' WHERE status = 'partly_refunded'")
    with op.batch_alter_table("orders") as orders:
        for name, rule in BEFORE.items():
            orders.create_check_constraint(op.f(f"ck_orders_{name}"), rule)
    _bring_lines_back()


def _lay_lines_aside() -> None:
    """SQLite makes a new `orders` and drops the old one, which rows that point to it would forbid."""
    if op.get_bind().dialect.name == "sqlite":
        op.execute("CREATE TEMP TABLE order_lines_aside AS SELECT * FROM order_lines")
        op.execute("DELETE FROM order_lines")


def _bring_lines_back() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute("INSERT INTO order_lines SELECT * FROM order_lines_aside")
        op.execute("DROP TABLE order_lines_aside")
