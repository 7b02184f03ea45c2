"""Keys to the HTTP API.

Why: keys in the settings may do everything, cannot be taken back alone, and nobody sees whether they are used.
Live: a new table only. Down: drops it; those keys stop working.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0024_api_keys"
down_revision = "0030_tasks"
branch_labels = None
depends_on = None

BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Json = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
Instant = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("name", sa.String(40), nullable=False, unique=True),
        sa.Column("hint", sa.String(12), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False, unique=True),
        sa.Column("scopes", Json, nullable=False),
        sa.Column("created_by", sa.String(64), nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("expires_at", Instant, nullable=True),
        sa.Column("revoked_at", Instant, nullable=True),
        sa.Column("revoked_by", sa.String(64), nullable=False),
        sa.Column("last_used_at", Instant, nullable=True),
    )


def downgrade() -> None:
    op.drop_table("api_keys")
