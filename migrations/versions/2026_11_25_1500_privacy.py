"""Receipts of erasures, and tombstones of the identities that were erased.

Why: a member asks to be forgotten, and the next sync must not bring them back.
Live: new tables only; makes the key of the tombstones. Down: drops them, and syncs bring erased people back.
"""

import secrets

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0017_privacy"
down_revision = "0016_gate"
branch_labels = None
depends_on = None

BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Json = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
Instant = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "erasures",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("number", sa.String(8), nullable=False, unique=True),
        sa.Column("erased_at", Instant, nullable=False),
        sa.Column("by", sa.String(64), nullable=False),
        sa.Column("reason", sa.String(40), nullable=False),
        sa.Column("members", BigInt, nullable=False),
        sa.Column("lines", Json, nullable=False),
        sa.Column("proof", Json, nullable=False),
    )
    op.create_table(
        "tombstones",
        sa.Column("kind", sa.String(40), primary_key=True),
        sa.Column("fingerprint", sa.String(64), primary_key=True),
        sa.Column("erased_at", Instant, nullable=False),
    )
    key = op.create_table(
        "tombstone_key",
        sa.Column("id", BigInt, primary_key=True, autoincrement=False),
        sa.Column("secret", sa.String(64), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_tombstone_key_one_row")),
    )
    op.bulk_insert(key, [{"id": 1, "secret": secrets.token_hex(32)}])


def downgrade() -> None:
    for table in ("tombstone_key", "tombstones", "erasures"):
        op.drop_table(table)
