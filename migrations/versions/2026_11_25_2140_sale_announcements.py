"""When a sale's groups are told of it, whether it is for them alone, and whether they read how it went.

Why: a sale is announced by tasks of the groups' owners ahead of time.
Live: adds columns with defaults that say what was so before; running code ignores them. Down: drops them.
"""

import sqlalchemy as sa
from alembic import op

revision = "0037_sale_announcements"
down_revision = "0033_reviews"
branch_labels = None
depends_on = None

BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    with op.batch_alter_table("sales") as sales:
        sales.add_column(sa.Column("ahead_seconds", BigInt, nullable=False, server_default="7200"))
        sales.add_column(sa.Column("groups_only", sa.Boolean, nullable=False, server_default=sa.true()))
        sales.add_column(sa.Column("recaps", sa.Boolean, nullable=False, server_default=sa.false()))


def downgrade() -> None:
    with op.batch_alter_table("sales") as sales:
        for name in ("recaps", "groups_only", "ahead_seconds"):
            sales.drop_column(name)
