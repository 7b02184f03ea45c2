"""Tables of the desk: canned replies, marks on tickets, who looks at which, and answers that wait for their hour."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from crm.base.db import Base


class CannedReply(Base):
    """An answer kept ready, typed as /code. It may hold {{variables}} and [[gaps]] to fill in."""

    __tablename__ = "canned_replies"

    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(sa.String(20), unique=True)
    title: Mapped[str] = mapped_column(sa.String(40))
    text: Mapped[str]
    saved_by: Mapped[str] = mapped_column(sa.String(64))
    saved_at: Mapped[datetime]


class TicketMark(Base):
    """What agents put on a ticket for themselves."""

    __tablename__ = "ticket_marks"

    ticket_id: Mapped[int] = mapped_column(sa.ForeignKey("tickets.id"), primary_key=True)
    labels: Mapped[list[str]] = mapped_column(default=list)
    snoozed_until: Mapped[datetime | None]  # out of sight until then, or until the customer writes
    snoozed_at: Mapped[datetime | None]
    merged_into: Mapped[int | None]  # the ticket that goes on with its matter; it may be older than we keep


class DeskSeat(Base):
    """Somebody has a ticket open in front of them; old rows mean nothing."""

    __tablename__ = "desk_seats"

    ticket_id: Mapped[int] = mapped_column(sa.ForeignKey("tickets.id"), primary_key=True)
    account_id: Mapped[int] = mapped_column(sa.ForeignKey("accounts.id"), primary_key=True)
    seen_at: Mapped[datetime]
    typing_at: Mapped[datetime | None]


class LaterReply(Base):
    """An answer to be sent at its hour. Not in the outbox: there it would hold up whatever is said before."""

    __tablename__ = "later_replies"
    __table_args__ = (
        sa.Index(
            "ix_later_replies_due",
            "due_at",
            sqlite_where=sa.text("settled_at IS NULL"),
            postgresql_where=sa.text("settled_at IS NULL"),
        ),
        sa.Index(None, "ticket_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    ticket_id: Mapped[int] = mapped_column(sa.ForeignKey("tickets.id"))
    staff: Mapped[str] = mapped_column(sa.String(64))
    text: Mapped[str]
    due_at: Mapped[datetime]
    made_at: Mapped[datetime]
    settled_at: Mapped[datetime | None]
    outcome: Mapped[str | None] = mapped_column(sa.String(40))  # sent, cancelled, or the code of the refusal
