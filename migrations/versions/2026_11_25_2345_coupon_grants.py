"""Coupons for a whole audience: what is given, to whom, how far it has come.

Why: giving a coupon to every member of a segment took one call each.
Live: a new table only. Down: drops it; coupons that were given stay.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0061_coupon_grants"
down_revision = "0060_event_numbers"
branch_labels = None
depends_on = None

BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Json = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
Instant = sa.DateTime(timezone=True)
COUNTS = ("selected", "issued", "had_it", "at_limit", "missed")


def upgrade() -> None:
    op.create_table(
        "coupon_grants",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("name", sa.String(60), nullable=False, unique=True),
        sa.Column("offer_id", BigInt, sa.ForeignKey("offers.id"), nullable=False),
        sa.Column("audience", Json, nullable=False),
        sa.Column("status", sa.String(40), nullable=False),
        sa.Column("cursor", BigInt, nullable=False),
        sa.Column("last_id", BigInt, nullable=False),
        *(sa.Column(name, BigInt, nullable=False) for name in COUNTS),
        sa.Column("ended_because", sa.String(60), nullable=False),
        sa.Column("created_by", sa.String(64), nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("ticked_at", Instant, nullable=False),
        sa.Column("ended_at", Instant, nullable=True),
        sa.CheckConstraint("(status IN ('finished', 'stopped')) = (ended_at IS NOT NULL)", name="end_is_whole"),
        sa.CheckConstraint("issued + had_it + at_limit + missed = selected", name="everybody_has_an_end"),
    )
    is_open = sa.text("ended_at IS NULL")
    op.create_index(
        "ix_coupon_grants_open", "coupon_grants", ["status"], sqlite_where=is_open, postgresql_where=is_open
    )


def downgrade() -> None:
    op.drop_table("coupon_grants")
