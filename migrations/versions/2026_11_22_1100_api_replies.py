"""Answered API requests.

Why: a request repeated after a lost answer gets that answer, and does nothing twice.
Live: creates one table.  Down: drops it; requests repeated after that are done again.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0011_api"
down_revision = "0010_rfm"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "api_replies",
        sa.Column("caller", sa.String(64), primary_key=True),
        sa.Column("idempotency_key", sa.String(128), primary_key=True),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=False),
        sa.Column("body", sa.JSON().with_variant(JSONB(), "postgresql"), nullable=False),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("ix_api_replies_answered_at", "api_replies", ["answered_at"])


def downgrade() -> None:
    op.drop_table("api_replies")
