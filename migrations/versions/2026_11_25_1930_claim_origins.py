"""Whose a claim or a place in a queue was before a merge, and lines that ask for a place.

Why: a merge that is undone gives back what it carried; a place asked for in the chat is worked off like a claim.
Live: adds nullable columns and one with a default; running code ignores them. Down: drops them.
"""

import sqlalchemy as sa
from alembic import op

revision = "0034_claim_origins"
down_revision = "0033_referral"
branch_labels = None
depends_on = None

BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOVED = sa.text("came_from IS NOT NULL")


def upgrade() -> None:
    for table in ("claims", "sale_waiters"):
        op.add_column(table, sa.Column("came_from", BigInt, nullable=True))
        name = f"ix_{table}_came_from"
        op.create_index(name, table, ["came_from"], sqlite_where=MOVED, postgresql_where=MOVED)
    op.add_column("claim_lines", sa.Column("waits", sa.Boolean, nullable=False, server_default=sa.false()))


def downgrade() -> None:
    op.drop_column("claim_lines", "waits")
    for table in ("claims", "sale_waiters"):
        op.drop_index(f"ix_{table}_came_from", table)
        op.drop_column(table, "came_from")
