"""Canned replies, marks on tickets, seats in front of them, answers that wait for their hour.

Why: agents work at the desk, several of them, with answers at hand.
Live: new tables only. Down: drops them.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0036_desk"
down_revision = "0035_group_posts"
branch_labels = None
depends_on = None

BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Json = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
Instant = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "canned_replies",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("code", sa.String(20), nullable=False, unique=True),
        sa.Column("title", sa.String(40), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("saved_by", sa.String(64), nullable=False),
        sa.Column("saved_at", Instant, nullable=False),
    )
    op.create_table(
        "ticket_marks",
        sa.Column("ticket_id", BigInt, sa.ForeignKey("tickets.id"), primary_key=True),
        sa.Column("labels", Json, nullable=False),
        sa.Column("snoozed_until", Instant, nullable=True),
        sa.Column("snoozed_at", Instant, nullable=True),
        sa.Column("merged_into", BigInt, nullable=True),
    )
    op.create_table(
        "desk_seats",
        sa.Column("ticket_id", BigInt, sa.ForeignKey("tickets.id"), primary_key=True),
        sa.Column("account_id", BigInt, sa.ForeignKey("accounts.id"), primary_key=True),
        sa.Column("seen_at", Instant, nullable=False),
        sa.Column("typing_at", Instant, nullable=True),
    )
    op.create_table(
        "later_replies",
        sa.Column("id", BigInt, primary_key=True),
        sa.Column("ticket_id", BigInt, sa.ForeignKey("tickets.id"), nullable=False),
        sa.Column("staff", sa.String(64), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("due_at", Instant, nullable=False),
        sa.Column("made_at", Instant, nullable=False),
        sa.Column("settled_at", Instant, nullable=True),
        sa.Column("outcome", sa.String(40), nullable=True),
    )
    waiting = sa.text("settled_at IS NULL")
    op.create_index("ix_later_replies_due", "later_replies", ["due_at"], sqlite_where=waiting, postgresql_where=waiting)
    op.create_index("ix_later_replies_ticket_id", "later_replies", ["ticket_id"])


def downgrade() -> None:
    for table in ("later_replies", "desk_seats", "ticket_marks", "canned_replies"):
        op.drop_table(table)
