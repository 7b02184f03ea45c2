"""Flash sales: sales, items, groups and their shares, claims, who waits, payments, and claims asked for in chat.

Why: a claim is answered only after the row that proves it; the checks make overselling impossible.
Live: new tables only; running code ignores them. Down: drops them with their history.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0022_flash_sales"
down_revision = "0021_ladders"
branch_labels = None
depends_on = None

BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Json = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
Instant = sa.DateTime(timezone=True)


def upgrade() -> None:
    _sales()
    _claims()
    _waiters()
    _payments()
    _lines()


def _sales() -> None:
    op.create_table(
        "sales",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("code", sa.String(8), nullable=False, unique=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("status", sa.String(40), nullable=False),
        sa.Column("early_at", Instant, nullable=True),
        sa.Column("early", Json, nullable=False),
        sa.Column("opens_at", Instant, nullable=False),
        sa.Column("closes_at", Instant, nullable=False),
        sa.Column("pay_seconds", BigInt, nullable=False),
        sa.Column("honours_late", sa.Boolean, nullable=False),
        sa.Column("series", sa.String(40), nullable=True),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("settled_at", Instant, nullable=True),
        sa.UniqueConstraint("series", "opens_at"),
        sa.CheckConstraint("closes_at > opens_at", name=op.f("ck_sales_closes_after_opening")),
        sa.CheckConstraint("early_at IS NULL OR early_at <= opens_at", name=op.f("ck_sales_early_before_opening")),
        sa.CheckConstraint("pay_seconds > 0", name=op.f("ck_sales_time_to_pay")),
    )
    op.create_index("ix_sales_status_opens_at", "sales", ["status", "opens_at"])
    op.create_table(
        "sale_items",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("sale_id", BigInt, sa.ForeignKey("sales.id"), nullable=False),
        sa.Column("code", sa.String(8), nullable=False),
        sa.Column("sku", sa.String(64), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("picture", sa.Text, nullable=False),
        sa.Column("price_fen", BigInt, nullable=False),
        sa.Column("list_price_fen", BigInt, nullable=False),
        sa.Column("stock", BigInt, nullable=False),
        sa.Column("held", BigInt, nullable=False),
        sa.Column("sold", BigInt, nullable=False),
        sa.Column("limit_each", BigInt, nullable=False),
        sa.UniqueConstraint("sale_id", "code"),
        sa.CheckConstraint(
            "held >= 0 AND sold >= 0 AND held + sold <= stock", name=op.f("ck_sale_items_never_oversold")
        ),
        sa.CheckConstraint(
            "price_fen >= 0 AND list_price_fen >= price_fen", name=op.f("ck_sale_items_price_below_list")
        ),
        sa.CheckConstraint("limit_each > 0", name=op.f("ck_sale_items_limit_positive")),
    )
    op.create_table(
        "sale_groups",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("sale_id", BigInt, sa.ForeignKey("sales.id"), nullable=False),
        sa.Column("group_id", BigInt, sa.ForeignKey("customer_groups.id"), nullable=False),
        sa.Column("code", sa.String(8), nullable=False, unique=True),
        sa.UniqueConstraint("sale_id", "group_id"),
    )
    op.create_table(
        "sale_shares",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("item_id", BigInt, sa.ForeignKey("sale_items.id"), nullable=False),
        sa.Column("group_id", BigInt, sa.ForeignKey("customer_groups.id"), nullable=False),
        sa.Column("stock", BigInt, nullable=False),
        sa.Column("taken", BigInt, nullable=False),
        sa.UniqueConstraint("item_id", "group_id"),
        sa.CheckConstraint("taken >= 0 AND taken <= stock", name=op.f("ck_sale_shares_never_oversold")),
    )


def _claims() -> None:
    op.create_table(
        "claims",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("no", sa.String(32), nullable=False, unique=True),
        sa.Column("item_id", BigInt, sa.ForeignKey("sale_items.id"), nullable=False),
        sa.Column("member_id", BigInt, sa.ForeignKey("members.id"), nullable=False),
        sa.Column("quantity", BigInt, nullable=False),
        sa.Column("total_fen", BigInt, nullable=False),
        sa.Column("status", sa.String(40), nullable=False),
        sa.Column("channel", sa.String(40), nullable=False),
        sa.Column("group_id", BigInt, sa.ForeignKey("customer_groups.id"), nullable=True),
        sa.Column("claimed_at", Instant, nullable=False),
        sa.Column("pay_due_at", Instant, nullable=False),
        sa.Column("paid_at", Instant, nullable=True),
        sa.Column("released_at", Instant, nullable=True),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_claims_quantity_positive")),
        sa.CheckConstraint("(status = 'paid') = (paid_at IS NOT NULL)", name=op.f("ck_claims_paid_has_its_instant")),
    )
    op.create_index("ix_claims_member_id_item_id", "claims", ["member_id", "item_id"])
    _partial_index("uq_claims_unpaid", "claims", ["item_id", "member_id"], "status = 'held'", unique=True)
    _partial_index("ix_claims_due", "claims", ["pay_due_at"], "status = 'held'")


def _waiters() -> None:
    op.create_table(
        "sale_waiters",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("item_id", BigInt, sa.ForeignKey("sale_items.id"), nullable=False),
        sa.Column("member_id", BigInt, sa.ForeignKey("members.id"), nullable=False),
        sa.Column("quantity", BigInt, nullable=False),
        sa.Column("group_id", BigInt, sa.ForeignKey("customer_groups.id"), nullable=True),
        sa.Column("status", sa.String(40), nullable=False),
        sa.Column("since", Instant, nullable=False),
        sa.Column("ended_at", Instant, nullable=True),
    )
    op.create_index("ix_sale_waiters_member_id", "sale_waiters", ["member_id"])
    _partial_index(
        "uq_sale_waiters_waiting", "sale_waiters", ["item_id", "member_id"], "status = 'waiting'", unique=True
    )


def _payments() -> None:
    op.create_table(
        "sale_payments",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("transaction_id", sa.String(64), nullable=False, unique=True),
        sa.Column("claim_id", BigInt, sa.ForeignKey("claims.id"), nullable=False),
        sa.Column("paid_fen", BigInt, nullable=False),
        sa.Column("paid_at", Instant, nullable=False),
        sa.Column("outcome", sa.String(40), nullable=False),
        sa.Column("why", sa.Text, nullable=False),
        sa.Column("told_at", Instant, nullable=False),
    )
    op.create_index("ix_sale_payments_outcome", "sale_payments", ["outcome"])
    op.create_index("ix_sale_payments_claim_id", "sale_payments", ["claim_id"])


def _lines() -> None:
    op.create_table(
        "claim_lines",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("msgid", sa.String(128), nullable=False, unique=True),
        sa.Column("conversation_id", BigInt, sa.ForeignKey("conversations.id"), nullable=False),
        sa.Column("member_id", BigInt, sa.ForeignKey("members.id"), nullable=False),
        sa.Column("item_id", BigInt, sa.ForeignKey("sale_items.id"), nullable=False),
        sa.Column("quantity", BigInt, nullable=False),
        sa.Column("said_at", Instant, nullable=False),
        sa.Column("done_at", Instant, nullable=True),
    )
    op.create_index("ix_claim_lines_member_id", "claim_lines", ["member_id"])
    _partial_index("ix_claim_lines_open", "claim_lines", ["id"], "done_at IS NULL")


def _partial_index(name: str, table: str, columns: list[str], where: str, *, unique: bool = False) -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns, unique=unique, sqlite_where=condition, postgresql_where=condition)


def downgrade() -> None:
    for table in (
        *("claim_lines", "sale_payments", "sale_waiters", "claims"),
        *("sale_shares", "sale_groups", "sale_items", "sales"),
    ):
        op.drop_table(table)
