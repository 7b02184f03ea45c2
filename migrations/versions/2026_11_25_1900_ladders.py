"""Tiered offers and what members got of them.

Why: a member gets the best tier that fits, once, and the shop can say why that one.
Live: new tables only. Down: drops them.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0021_ladders"
down_revision = "0020_archive"
branch_labels = None
depends_on = None

BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Json = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
Instant = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "ladders",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("key", sa.String(40), nullable=False, unique=True),
        sa.Column("title", sa.String(60), nullable=False),
        sa.Column("tiers", Json, nullable=False),
        sa.Column("claimable", sa.Boolean, nullable=False),
        sa.Column("closed_at", Instant, nullable=True),
        sa.Column("saved_at", Instant, nullable=False),
    )
    op.create_table(
        "ladder_gifts",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("ladder_id", BigInt, sa.ForeignKey("ladders.id"), nullable=False),
        sa.Column("member_id", BigInt, sa.ForeignKey("members.id"), nullable=False),
        sa.Column("because", sa.String(48), nullable=False),
        sa.Column("tier", sa.String(40), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("coupon_id", BigInt, sa.ForeignKey("coupons.id"), nullable=True),
        sa.Column("points", BigInt, nullable=False),
        sa.Column("given_at", Instant, nullable=False),
        sa.UniqueConstraint("ladder_id", "member_id", "because"),
    )
    op.create_index("ix_ladder_gifts_member_id", "ladder_gifts", ["member_id"])


def downgrade() -> None:
    op.drop_table("ladder_gifts")
    op.drop_table("ladders")
