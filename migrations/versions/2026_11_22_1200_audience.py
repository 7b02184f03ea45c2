"""Our own tags with their history, segments with their members, and whom an event is about.

Why: the shop groups members by what a person or a rule says; a segment asks how often a member did something, which
needs to find a member's events.
Live: new tables and one nullable column; running code ignores them. Events of before have no member. Down: drops them.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0012_audience"
down_revision = "0011_api"
branch_labels = None
depends_on = None

BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Json = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
Instant = sa.DateTime(timezone=True)


def upgrade() -> None:
    _tags()
    _member_tags()
    _segments()
    with op.batch_alter_table("events") as events:
        events.add_column(sa.Column("member_id", BigInt, nullable=True))
    _partial_index("ix_events_member_id_name_at", "events", ["member_id", "name", "at"], "member_id IS NOT NULL")


def _tags() -> None:
    op.create_table(
        "tag_groups",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("name", sa.String(30), nullable=False, unique=True),
        sa.Column("exclusive", sa.Boolean, nullable=False),
    )
    op.create_table(
        "tags",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("group_id", BigInt, sa.ForeignKey("tag_groups.id"), nullable=False),
        sa.Column("name", sa.String(30), nullable=False),
        sa.Column("rule", Json, nullable=True),
        sa.Column("lasts_days", BigInt, nullable=True),
        sa.Column("mirrored", sa.Boolean, nullable=False),
        sa.Column("corp_tag_id", BigInt, sa.ForeignKey("corp_tags.id"), nullable=True, unique=True),
        sa.Column("created_at", Instant, nullable=False),
        sa.UniqueConstraint("group_id", "name"),
    )


def _member_tags() -> None:
    op.create_table(
        "member_tags",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("member_id", BigInt, sa.ForeignKey("members.id"), nullable=False),
        sa.Column("tag_id", BigInt, sa.ForeignKey("tags.id"), nullable=False),
        sa.Column("exclusive_group_id", BigInt, nullable=True),
        sa.Column("source", sa.String(40), nullable=False),
        sa.Column("by", sa.String(64), nullable=False),
        sa.Column("tagged_at", Instant, nullable=False),
        sa.Column("expires_at", Instant, nullable=True),
        sa.Column("ended_at", Instant, nullable=True),
        sa.Column("ended_because", sa.String(40), nullable=True),
        sa.CheckConstraint("(ended_at IS NULL) = (ended_because IS NULL)", name=op.f("ck_member_tags_end_is_whole")),
    )
    op.create_index("ix_member_tags_member_id", "member_tags", ["member_id"])
    is_open = "ended_at IS NULL"
    exclusive, expiring = f"{is_open} AND exclusive_group_id IS NOT NULL", f"{is_open} AND expires_at IS NOT NULL"
    _partial_index("uq_member_tags_open", "member_tags", ["tag_id", "member_id"], is_open, unique=True)
    _partial_index(
        "uq_member_tags_exclusive", "member_tags", ["member_id", "exclusive_group_id"], exclusive, unique=True
    )
    _partial_index("ix_member_tags_expiring", "member_tags", ["expires_at"], expiring)


def _segments() -> None:
    op.create_table(
        "segments",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("name", sa.String(60), nullable=False, unique=True),
        sa.Column("condition", Json, nullable=False),
        sa.Column("watched", sa.Boolean, nullable=False),
        sa.Column("saved_at", Instant, nullable=False),
        sa.Column("filled_at", Instant, nullable=True),
    )
    op.create_table(
        "segment_members",
        sa.Column("segment_id", BigInt, sa.ForeignKey("segments.id"), primary_key=True),
        sa.Column("member_id", BigInt, sa.ForeignKey("members.id"), primary_key=True),
        sa.Column("entered_at", Instant, nullable=False),
    )
    op.create_index("ix_segment_members_member_id", "segment_members", ["member_id"])


def _partial_index(name: str, table: str, columns: list[str], where: str, *, unique: bool = False) -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns, unique=unique, sqlite_where=condition, postgresql_where=condition)


def downgrade() -> None:
    op.drop_index("ix_events_member_id_name_at", "events")
    with op.batch_alter_table("events") as events:
        events.drop_column("member_id")
    for table in ("segment_members", "segments", "member_tags", "tags", "tag_groups"):
        op.drop_table(table)
