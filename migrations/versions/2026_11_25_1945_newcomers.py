"""New faces at a sale, and those of them a person has to look at first.

Why: bursts of new identities are flagged with their evidence instead of being served.
Live: a new table only. Down: drops it; who was flagged is served like everybody.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0036_newcomers"
down_revision = "0037_inviter_ways"
branch_labels = None
depends_on = None

BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Json = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
Instant = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "sale_newcomers",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("sale_id", BigInt, sa.ForeignKey("sales.id"), nullable=False),
        sa.Column("member_id", BigInt, sa.ForeignKey("members.id"), nullable=False),
        sa.Column("address", sa.String(16), nullable=False),
        sa.Column("asked_at", Instant, nullable=False),
        sa.Column("standing", sa.String(40), nullable=False),
        sa.Column("evidence", Json, nullable=False),
        sa.Column("flagged_at", Instant, nullable=True),
        sa.Column("decided_at", Instant, nullable=True),
        sa.Column("decided_by", sa.String(64), nullable=False),
        sa.UniqueConstraint("sale_id", "member_id"),
    )
    op.create_index("ix_sale_newcomers_sale_id_asked_at", "sale_newcomers", ["sale_id", "asked_at"])
    op.create_index("ix_sale_newcomers_member_id", "sale_newcomers", ["member_id"])


def downgrade() -> None:
    op.drop_table("sale_newcomers")
