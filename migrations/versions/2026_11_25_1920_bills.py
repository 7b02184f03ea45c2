"""How far the corp's bills were read, and money that fits no claim.

Why: WeCom tells nobody of a payment by 对外收款; it is read, and what fits no claim waits for a person.
Live: new tables only. Down: drops them; unsettled money is then known to the vendor alone.
"""

import sqlalchemy as sa
from alembic import op

revision = "0023_bills"
down_revision = "0022_flash_sales"
branch_labels = None
depends_on = None

BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Instant = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "bill_readings",
        sa.Column("name", sa.String(16), primary_key=True),
        sa.Column("read_until", Instant, nullable=False),
        sa.Column("next_at", Instant, nullable=False),
    )
    op.create_table(
        "stray_bills",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("transaction_id", sa.String(64), nullable=False, unique=True),
        sa.Column("external_userid", sa.String(64), nullable=False),
        sa.Column("payee", sa.String(64), nullable=False),
        sa.Column("paid_fen", BigInt, nullable=False),
        sa.Column("paid_at", Instant, nullable=False),
        sa.Column("words", sa.Text, nullable=False),
        sa.Column("why", sa.Text, nullable=False),
        sa.Column("found_at", Instant, nullable=False),
        sa.Column("settled_at", Instant, nullable=True),
        sa.Column("settled_as", sa.Text, nullable=False),
    )
    is_open = sa.text("settled_at IS NULL")
    op.create_index("ix_stray_bills_open", "stray_bills", ["id"], sqlite_where=is_open, postgresql_where=is_open)
    op.create_index("ix_stray_bills_external_userid", "stray_bills", ["external_userid"])


def downgrade() -> None:
    op.drop_table("stray_bills")
    op.drop_table("bill_readings")
