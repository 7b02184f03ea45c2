"""Tables of handoff: a ticket for each time a customer needs a person, and the steps it went through."""

from datetime import datetime
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from crm.base.db import Base


class TicketStatus(StrEnum):
    WAITING = "waiting"  # nobody has it yet
    QUEUED = "queued"  # in the account's queue, any servicer may take it
    ASSIGNED = "assigned"  # with `servicer_userid`
    CLOSED = "closed"


class TicketMode(StrEnum):
    NATIVE = "native"  # the servicer answers in the WeCom client
    DESK = "desk"  # the session stays with the bot's API, agents answer through us


class Priority(StrEnum):
    URGENT = "urgent"  # complaints, anger, bad ratings
    HIGH = "high"  # VIP members, money
    NORMAL = "normal"


class StepKind(StrEnum):
    OPENED = "opened"
    PROMISED = "promised"  # outside hours: the customer was told by when
    ASSIGNED = "assigned"
    QUEUED = "queued"
    NOBODY = "nobody"  # could not be brought to anybody; tried again later
    ACCEPTED = "accepted"  # 接单
    PASSED = "passed"  # 转给同事
    ANSWERED = "answered"  # the first response
    WARNED = "warned"  # 80 % of a clock
    BREACHED = "breached"
    REASSIGNED = "reassigned"  # its servicer was silent
    CLOSED = "closed"
    ASKED = "asked"  # for a rating
    RATED = "rated"
    NOTED = "noted"  # a remark for colleagues


class Ticket(Base):
    """A customer needs a person. One open ticket per conversation. The row is also the watch's queue: `check_at`."""

    __tablename__ = "tickets"
    __table_args__ = (
        sa.Index(
            "uq_tickets_open",
            "conversation_id",
            unique=True,
            sqlite_where=sa.text("status <> 'closed'"),
            postgresql_where=sa.text("status <> 'closed'"),
        ),
        sa.Index(
            "ix_tickets_check",
            "check_at",
            sqlite_where=sa.text("check_at IS NOT NULL"),
            postgresql_where=sa.text("check_at IS NOT NULL"),
        ),
        sa.Index(None, "opened_at"),
        sa.Index(None, "servicer_userid", "assigned_at"),
        sa.CheckConstraint("csat_score BETWEEN 1 AND 5", name="score_of_five"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    conversation_id: Mapped[int] = mapped_column(sa.ForeignKey("conversations.id"))
    member_id: Mapped[int | None] = mapped_column(sa.ForeignKey("members.id"))
    reason: Mapped[str] = mapped_column(sa.String(40))  # triggers.Reason
    quote: Mapped[str]  # the customer's words that led here
    mode: Mapped[TicketMode] = mapped_column(default=TicketMode.NATIVE)
    priority: Mapped[Priority] = mapped_column(default=Priority.NORMAL)
    skill: Mapped[str] = mapped_column(sa.String(40), default="")  # topic, as the articles' tags name it
    status: Mapped[TicketStatus] = mapped_column(default=TicketStatus.WAITING)
    servicer_userid: Mapped[str | None] = mapped_column(sa.String(64))
    offers: Mapped[int] = mapped_column(sa.SmallInteger, default=0)  # times it was brought to somebody
    opened_at: Mapped[datetime]
    assigned_at: Mapped[datetime | None]
    accepted_at: Mapped[datetime | None]  # somebody pressed 接单 or answered: it is theirs
    closed_at: Mapped[datetime | None]

    waiting_since: Mapped[datetime | None]  # the customer waits for a word; None: we wait for the customer's
    first_response_at: Mapped[datetime | None]
    first_response_warn_at: Mapped[datetime | None]
    first_response_due_at: Mapped[datetime | None]
    resolution_warn_at: Mapped[datetime | None]
    resolution_due_at: Mapped[datetime | None]  # None while the clock is paused
    resolution_left_seconds: Mapped[int | None]  # of a paused clock
    silence_at: Mapped[datetime | None]  # a servicer who has not answered by then loses the ticket
    retry_at: Mapped[datetime | None]  # when it is next brought to somebody
    check_at: Mapped[datetime | None]  # the earliest instant at which something may be due

    csat_asked_at: Mapped[datetime | None]
    csat_score: Mapped[int | None] = mapped_column(sa.SmallInteger)  # 5 is best
    csat_comment: Mapped[str | None]
    csat_rated_at: Mapped[datetime | None]


class TicketStep(Base):
    """Something that happened to a ticket. A step with a `once` key happens once, whoever races for it."""

    __tablename__ = "ticket_steps"
    __table_args__ = (sa.UniqueConstraint("ticket_id", "once"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    ticket_id: Mapped[int] = mapped_column(sa.ForeignKey("tickets.id"))
    kind: Mapped[StepKind]
    at: Mapped[datetime]
    by: Mapped[str] = mapped_column(sa.String(64), default="")  # userid; empty: the service itself
    note: Mapped[str] = mapped_column(default="")
    once: Mapped[str | None] = mapped_column(sa.String(64))
