"""The floor: events with cursors, and the outbox.

Why: everything later appends events and leaves through the outbox.
Live: creates tables only.  Down: drops them with all that waits in them.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001_floor"
down_revision = None
branch_labels = None
depends_on = None

Key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Json = sa.JSON().with_variant(JSONB(), "postgresql")
Instant = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "events",
        sa.Column("id", Key, primary_key=True),
        sa.Column("xid", Key, nullable=False),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("body", Json, nullable=False),
        sa.Column("at", Instant, nullable=False),
    )
    op.create_index("ix_events_xid_id", "events", ["xid", "id"])
    op.create_table(
        "event_cursors",
        sa.Column("name", sa.String(80), primary_key=True),
        sa.Column("xid", Key, nullable=False),
        sa.Column("event_id", Key, nullable=False),
    )
    op.create_table(
        "event_failures",
        sa.Column("cursor", sa.String(80), primary_key=True),
        sa.Column("event_id", Key, primary_key=True, autoincrement=False),
        sa.Column("tries", Key, nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("failed_at", Instant, nullable=False),
    )
    op.create_table(
        "outbox",
        sa.Column("id", Key, primary_key=True),
        sa.Column("lane", sa.String(40), nullable=False),
        sa.Column("key", sa.String(120)),
        sa.Column("dedupe_key", sa.String(64), nullable=False),
        sa.Column("purpose", sa.String(40), nullable=False),
        sa.Column("member_id", Key),
        sa.Column("body", Json, nullable=False),
        sa.Column("repeatable", sa.Boolean(), nullable=False),
        sa.Column("not_before", Instant, nullable=False),
        sa.Column("deadline", Instant),
        sa.Column("status", sa.String(40), nullable=False, server_default="waiting"),
        sa.Column("attempts", Key, nullable=False, server_default="0"),
        sa.Column("claimed_by", Key),
        sa.Column("claimed_until", Instant),
        sa.Column("error", sa.Text()),
        sa.Column("result", Json),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("settled_at", Instant),
        sa.UniqueConstraint("dedupe_key", name=op.f("uq_outbox_dedupe_key")),
        sa.CheckConstraint(
            "(status = 'claimed') = (claimed_by IS NOT NULL)", name=op.f("ck_outbox_claimed_by_somebody")
        ),
    )
    _index_where("ix_outbox_waiting", ["lane", "not_before"], "status = 'waiting'")
    _index_where("ix_outbox_key_open", ["key", "id"], "status IN ('waiting', 'claimed')")
    _index_where("ix_outbox_claimed", ["claimed_by"], "status = 'claimed'")
    op.create_index("ix_outbox_member", "outbox", ["member_id"])


def _index_where(name: str, columns: list[str], where: str) -> None:
    op.create_index(name, "outbox", columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))


def downgrade() -> None:
    for table in ("outbox", "event_failures", "event_cursors", "events"):
        op.drop_table(table)
