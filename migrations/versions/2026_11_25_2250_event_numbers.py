"""An event's number is never given twice, on SQLite as on PostgreSQL.

Why: erasing a person whose event was the newest freed its number, and what happened next lay behind every cursor.
Live: PostgreSQL is left alone; on SQLite, where the one process is stopped, the table is copied. Down: copied back.
"""

import sqlalchemy as sa
from alembic import op

revision = "0060_event_numbers"
down_revision = "0050_webhook_indexes"
branch_labels = None
depends_on = None

COLUMNS = "id, xid, name, member_id, body, at"


def upgrade() -> None:
    _copy(never_again=True)


def downgrade() -> None:
    _copy(never_again=False)


def _copy(*, never_again: bool) -> None:
    if op.get_bind().dialect.name != "sqlite":
        return
    for name in ("ix_events_xid_id", "ix_events_member_id_name_at"):
        op.drop_index(name, "events")
    op.rename_table("events", "events_before")
    op.create_table(
        "events",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("xid", sa.Integer, nullable=False),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("member_id", sa.Integer, nullable=True),
        sa.Column("body", sa.JSON, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sqlite_autoincrement=never_again,
    )
    op.execute(f"INSERT INTO events ({COLUMNS}) SELECT {COLUMNS} FROM events_before ORDER BY id")
    op.drop_table("events_before")
    op.create_index("ix_events_xid_id", "events", ["xid", "id"])
    some = sa.text("member_id IS NOT NULL")
    op.create_index("ix_events_member_id_name_at", "events", ["member_id", "name", "at"], sqlite_where=some)
    if never_again:  # numbers that were given and are gone lie below some cursor
        highest = (
            "max(coalesce((SELECT max(id) FROM events), 0), coalesce((SELECT max(event_id) FROM event_cursors), 0))"
        )
        op.execute("DELETE FROM sqlite_sequence WHERE name = 'events'")
        op.execute(f"INSERT INTO sqlite_sequence (name, seq) SELECT 'events', {highest}")
