"""Offers and coupons.

Why: members get and use coupons; whatever happens at once, no more are issued than there are and none is spent twice.
Live: new tables only. Down: drops them, wallets are lost.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0019_offers"
down_revision = "0018_segment_indexes"
branch_labels = None
depends_on = None

BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Json = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
Instant = sa.DateTime(timezone=True)


def upgrade() -> None:
    _offers()
    op.create_table(
        "offer_taken",
        sa.Column("offer_id", BigInt, sa.ForeignKey("offers.id"), primary_key=True),
        sa.Column("member_id", BigInt, sa.ForeignKey("members.id"), primary_key=True),
        sa.Column("taken", BigInt, nullable=False),
        sa.CheckConstraint("taken >= 0", name=op.f("ck_offer_taken_taken_not_negative")),
    )
    _coupons()


def _offers() -> None:
    op.create_table(
        "offers",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("key", sa.String(40), nullable=False, unique=True),
        sa.Column("title", sa.String(60), nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("amount_fen", BigInt, nullable=False),
        sa.Column("percent_bp", BigInt, nullable=False),
        sa.Column("cap_fen", BigInt, nullable=True),
        sa.Column("gift_sku", sa.String(64), nullable=False),
        sa.Column("gift_fen", BigInt, nullable=False),
        sa.Column("threshold_fen", BigInt, nullable=False),
        sa.Column("skus", Json, nullable=False),
        sa.Column("categories", Json, nullable=False),
        sa.Column("stacks", sa.Boolean, nullable=False),
        sa.Column("starts_at", Instant, nullable=False),
        sa.Column("ends_at", Instant, nullable=True),
        sa.Column("valid_days", BigInt, nullable=True),
        sa.Column("stock", BigInt, nullable=True),
        sa.Column("issued", BigInt, nullable=False),
        sa.Column("per_member", BigInt, nullable=True),
        sa.Column("budget_fen", BigInt, nullable=True),
        sa.Column("committed_fen", BigInt, nullable=False),
        sa.Column("points_price", BigInt, nullable=True),
        sa.Column("claimable", sa.Boolean, nullable=False),
        sa.Column("closed_at", Instant, nullable=True),
        sa.Column("created_at", Instant, nullable=False),
        *_checks(
            "offers",
            money_not_negative="threshold_fen >= 0 AND amount_fen >= 0",
            percent_of_a_whole="percent_bp BETWEEN 0 AND 10000",
            issued_within_stock="issued >= 0 AND (stock IS NULL OR issued <= stock)",
            committed_within_budget="committed_fen >= 0 AND (budget_fen IS NULL OR committed_fen <= budget_fen)",
        ),
    )


def _coupons() -> None:
    op.create_table(
        "coupons",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("code", sa.String(8), nullable=False, unique=True),
        sa.Column("offer_id", BigInt, sa.ForeignKey("offers.id"), nullable=False),
        sa.Column("member_id", BigInt, sa.ForeignKey("members.id"), nullable=False),
        sa.Column("issued_to_id", BigInt, sa.ForeignKey("members.id"), nullable=False),
        sa.Column("because", sa.String(64), nullable=False),
        sa.Column("status", sa.String(40), nullable=False),
        sa.Column("issued_at", Instant, nullable=False),
        sa.Column("expires_at", Instant, nullable=False),
        sa.Column("order_source", sa.String(40), nullable=True),
        sa.Column("order_no", sa.String(64), nullable=True),
        sa.Column("discount_fen", BigInt, nullable=False),
        sa.Column("held_until", Instant, nullable=True),
        sa.Column("redeemed_at", Instant, nullable=True),
        sa.Column("reminded_at", Instant, nullable=True),
        sa.UniqueConstraint("offer_id", "issued_to_id", "because"),
        *_checks(
            "coupons",
            in_use_has_order="(status IN ('held', 'redeemed')) = (order_no IS NOT NULL)",
            order_is_whole="(order_no IS NULL) = (order_source IS NULL)",
            held_until_some_time="(status = 'held') = (held_until IS NOT NULL)",
            redeemed_at_some_time="(status = 'redeemed') = (redeemed_at IS NOT NULL)",
            discount_not_negative="discount_fen >= 0",
        ),
    )
    op.create_index("ix_coupons_member_id_status", "coupons", ["member_id", "status"])
    op.create_index("ix_coupons_issued_to_id", "coupons", ["issued_to_id"])
    _partial_index("ix_coupons_order", ["order_source", "order_no"], "order_no IS NOT NULL")
    _partial_index("ix_coupons_live", ["expires_at"], "status IN ('issued', 'held')")
    _partial_index("ix_coupons_held", ["held_until"], "status = 'held'")


def _checks(table: str, **conditions: str) -> list[sa.CheckConstraint]:
    return [sa.CheckConstraint(sql, name=op.f(f"ck_{table}_{name}")) for name, sql in conditions.items()]


def _partial_index(name: str, columns: list[str], where: str) -> None:
    op.create_index(name, "coupons", columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))


def downgrade() -> None:
    for table in ("coupons", "offer_taken", "offers"):
        op.drop_table(table)
