"""Runs of the sync.

Why: a full reading of contacts and groups takes minutes; one that is cut short goes on where it stood.
Live: one new table. Down: drops it; the next sync begins at the beginning.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005_sync"
down_revision = "0004_gateway"
branch_labels = None
depends_on = None

BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Json = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
Instant = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "sync_runs",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("started_at", Instant, nullable=False),
        sa.Column("step", BigInt, nullable=False),
        sa.Column("place", Json, nullable=False),
        sa.Column("taken", BigInt, nullable=False),
        sa.Column("finished_at", Instant, nullable=True),
        sa.Column("error", sa.Text, nullable=True),
    )
    still = sa.text("finished_at IS NULL")
    op.create_index("uq_sync_runs_open", "sync_runs", ["kind"], unique=True, sqlite_where=still, postgresql_where=still)
    op.create_index("ix_sync_runs_kind_started_at", "sync_runs", ["kind", "started_at"])


def downgrade() -> None:
    op.drop_table("sync_runs")
