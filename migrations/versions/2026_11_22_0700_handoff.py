"""Tickets with clocks, priority, mode and rating; the steps they went through; a flood counter per conversation.

Why: a promise to a customer is kept by a clock in the database, and a breach escalates once.
Live: adds columns and a table; running code ignores them.  Down: drops them with ratings and history.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007_handoff"
down_revision = "0006_misses"
branch_labels = None
depends_on = None

Key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Instant = sa.DateTime(timezone=True)
INSTANTS = (
    "accepted_at", "waiting_since", "first_response_at", "first_response_warn_at", "first_response_due_at",
    "resolution_warn_at", "resolution_due_at", "silence_at", "retry_at", "check_at", "csat_asked_at", "csat_rated_at",
)  # fmt: skip


def upgrade() -> None:
    with op.batch_alter_table("tickets") as tickets:
        tickets.add_column(sa.Column("mode", sa.String(40), nullable=False, server_default="native"))
        tickets.add_column(sa.Column("priority", sa.String(40), nullable=False, server_default="normal"))
        tickets.add_column(sa.Column("skill", sa.String(40), nullable=False, server_default=""))
        tickets.add_column(sa.Column("offers", sa.SmallInteger(), nullable=False, server_default="0"))
        for name in INSTANTS:
            tickets.add_column(sa.Column(name, Instant))
        tickets.add_column(sa.Column("resolution_left_seconds", Key))
        tickets.add_column(sa.Column("csat_score", sa.SmallInteger()))
        tickets.add_column(sa.Column("csat_comment", sa.Text()))
        tickets.create_check_constraint(op.f("ck_tickets_score_of_five"), "csat_score BETWEEN 1 AND 5")
    predicate = sa.text("check_at IS NOT NULL")
    op.create_index("ix_tickets_check", "tickets", ["check_at"], sqlite_where=predicate, postgresql_where=predicate)
    op.create_index("ix_tickets_opened_at", "tickets", ["opened_at"])
    op.create_index("ix_tickets_servicer_userid_assigned_at", "tickets", ["servicer_userid", "assigned_at"])
    op.create_table(
        "ticket_steps",
        sa.Column("id", Key, primary_key=True),
        sa.Column("ticket_id", Key, sa.ForeignKey("tickets.id"), nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("at", Instant, nullable=False),
        sa.Column("by", sa.String(64), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("once", sa.String(64)),
        sa.UniqueConstraint("ticket_id", "once", name=op.f("uq_ticket_steps_ticket_id_once")),
    )
    with op.batch_alter_table("conversations") as conversations:
        conversations.add_column(sa.Column("flood_count", sa.SmallInteger(), nullable=False, server_default="0"))
        conversations.add_column(sa.Column("flood_since", Instant))


def downgrade() -> None:
    with op.batch_alter_table("conversations") as conversations:
        conversations.drop_column("flood_since")
        conversations.drop_column("flood_count")
    op.drop_table("ticket_steps")
    for name in ("ix_tickets_servicer_userid_assigned_at", "ix_tickets_opened_at", "ix_tickets_check"):
        op.drop_index(name, "tickets")
    with op.batch_alter_table("tickets") as tickets:
        tickets.drop_constraint(op.f("ck_tickets_score_of_five"), type_="check")
        for name in ("csat_comment", "csat_score", "resolution_left_seconds", *reversed(INSTANTS)):
            tickets.drop_column(name)
        for name in ("offers", "skill", "priority", "mode"):
            tickets.drop_column(name)
