"""Contact ways of inviters, and posters asked for in the chat.

Why: a friend who scans an inviter's code is known by it; a poster takes a moment to draw and upload.
Live: new tables only. Down: drops them; the ways stay in WeCom.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0037_inviter_ways"
down_revision = "0037_sale_announcements"
branch_labels = None
depends_on = None

BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Json = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
Instant = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "inviter_ways",
        sa.Column("link_id", BigInt, sa.ForeignKey("referral_links.id"), primary_key=True, autoincrement=False),
        sa.Column("userids", Json, nullable=False),
        sa.Column("try_at", Instant, nullable=False),
        sa.Column("asked_at", Instant, nullable=True),
        sa.Column("config_id", sa.String(64), nullable=True),
        sa.Column("qr_code", sa.Text, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("ended_at", Instant, nullable=True),
    )
    _partly("ix_inviter_ways_wanted", "inviter_ways", ["try_at"], "config_id IS NULL AND ended_at IS NULL")
    op.create_table(
        "posters_wanted",
        sa.Column("msgid", sa.String(128), primary_key=True),
        sa.Column("conversation_id", BigInt, sa.ForeignKey("conversations.id"), nullable=False),
        sa.Column("link_id", BigInt, sa.ForeignKey("referral_links.id"), nullable=False),
        sa.Column("wanted_at", Instant, nullable=False),
        sa.Column("tries", BigInt, nullable=False),
        sa.Column("done_at", Instant, nullable=True),
    )
    _partly("ix_posters_wanted_open", "posters_wanted", ["wanted_at"], "done_at IS NULL")


def _partly(name: str, table: str, columns: list[str], where: str) -> None:
    some = sa.text(where)
    op.create_index(name, table, columns, sqlite_where=some, postgresql_where=some)


def downgrade() -> None:
    op.drop_table("posters_wanted")
    op.drop_table("inviter_ways")
