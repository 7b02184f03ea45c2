"""What the shop sells, and what is bought together.

Why: members are shown what goes with what they bought, from the shop's own orders, counted every night.
Live: new tables only. Down: drops them; the next count fills them again.
"""

import sqlalchemy as sa
from alembic import op

revision = "0040_suggestions"
down_revision = "0038_sequences"
branch_labels = None
depends_on = None

BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "items",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("sku", sa.String(64), nullable=False, unique=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("category", sa.String(64), nullable=False),
        sa.Column("orders", BigInt, nullable=False),
        sa.Column("first_on", sa.Date, nullable=True),
        sa.Column("last_on", sa.Date, nullable=True),
    )
    op.create_index("ix_items_category_first_on", "items", ["category", "first_on"])
    op.create_table(
        "item_pairs",
        sa.Column("item_id", BigInt, sa.ForeignKey("items.id"), primary_key=True, autoincrement=False),
        sa.Column("other_id", BigInt, sa.ForeignKey("items.id"), primary_key=True, autoincrement=False),
        sa.Column("together", BigInt, nullable=False),
        sa.Column("score", sa.Double, nullable=False),
    )
    op.create_table(
        "item_runs",
        sa.Column("counted_on", sa.Date, primary_key=True),
        sa.Column("line_id", BigInt, nullable=False),
        sa.Column("since_on", sa.Date, nullable=True),
        sa.Column("lines", BigInt, nullable=False),
        sa.Column("pairs", BigInt, nullable=False),
        sa.Column("counted_at", sa.DateTime(timezone=True), nullable=False),
    )


def downgrade() -> None:
    for table in ("item_runs", "item_pairs", "items"):
        op.drop_table(table)
