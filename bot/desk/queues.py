"""The desk's queues: whose ticket is whose, and which of them are late or about to be."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot.models.conversation import Conversation
from bot.models.desk import TicketMark
from bot.models.gateway import InboundMessage, KfAccount
from bot.models.handoff import Priority, Ticket, TicketMode, TicketStatus, TicketStep
from crm.models.member import Member, Staff

SHOWN = 60
CLOSED_FOR = timedelta(days=30)  # further back the members' pages look


class Queue(StrEnum):
    MINE = "mine"
    UNASSIGNED = "unassigned"
    AT_RISK = "at_risk"  # a clock has warned
    BREACHED = "breached"  # a clock has run out
    SNOOZED = "snoozed"
    ALL = "all"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Line:
    """One ticket in a queue. due_at: of the clock that runs; waits: the customer does, for a word of ours."""

    id: int
    name: str
    avatar_key: int
    account: str
    reason: str
    quote: str
    priority: Priority
    mode: TicketMode
    status: TicketStatus
    staff: str  # userid; empty: nobody
    staff_name: str
    opened_at: datetime
    heard_at: datetime | None
    due_at: datetime | None
    warn_at: datetime | None
    waits: bool
    labels: tuple[str, ...]
    snoozed_until: datetime | None

    def standing(self, now: datetime) -> str:
        """ok, warned or breached."""
        if self.due_at is None:
            return "ok"
        if self.due_at <= now:
            return "breached"
        return "warned" if self.warn_at is not None and self.warn_at <= now else "ok"


_unanswered = Ticket.first_response_at.is_(None)
_DUE = sa.case((_unanswered, Ticket.first_response_due_at), else_=Ticket.resolution_due_at)
_WARN = sa.case((_unanswered, Ticket.first_response_warn_at), else_=Ticket.resolution_warn_at)
_OPEN = Ticket.status != TicketStatus.CLOSED


def _asleep(now: datetime) -> sa.ColumnElement[bool]:
    """Put off until later, and the customer has not written since."""
    return sa.and_(
        TicketMark.snoozed_until > now,
        sa.or_(Conversation.last_customer_at.is_(None), Conversation.last_customer_at <= TicketMark.snoozed_at),
    )


def _in(queue: Queue, staff: str, now: datetime) -> sa.ColumnElement[bool]:
    awake = sa.and_(_OPEN, sa.func.coalesce(_asleep(now), sa.false()).is_(False))
    which: Mapping[Queue, sa.ColumnElement[bool]] = {
        Queue.MINE: sa.and_(awake, Ticket.servicer_userid == staff),
        Queue.UNASSIGNED: sa.and_(awake, Ticket.servicer_userid.is_(None)),
        Queue.AT_RISK: sa.and_(awake, now >= _WARN, now < _DUE),
        Queue.BREACHED: sa.and_(awake, now >= _DUE),
        Queue.SNOOZED: sa.and_(_OPEN, _asleep(now)),
        Queue.ALL: _OPEN,
        Queue.CLOSED: sa.and_(Ticket.status == TicketStatus.CLOSED, Ticket.closed_at > now - CLOSED_FOR),
    }
    return which[queue]


async def lines(session: AsyncSession, queue: Queue, *, staff: str, label: str = "", now: datetime) -> Sequence[Line]:
    """The tickets of a queue: the most urgent and longest waiting first; of the closed ones the last closed."""
    urgent = sa.case((Ticket.priority == Priority.URGENT, 0), (Ticket.priority == Priority.HIGH, 1), else_=2)
    order = (
        (Ticket.closed_at.desc(),)
        if queue is Queue.CLOSED
        else (Ticket.waiting_since.is_(None), urgent, sa.func.coalesce(_DUE, Ticket.opened_at), Ticket.id)
    )
    rows = await session.execute(
        sa.select(
            Ticket,
            Member.name.label("name"),
            KfAccount.name.label("account"),
            Conversation.last_customer_at,
            Staff.name.label("staff_name"),
            TicketMark.labels,
            TicketMark.snoozed_until,
            _DUE.label("due_at"),
            _WARN.label("warn_at"),
        )
        .join(Conversation, Conversation.id == Ticket.conversation_id)
        .outerjoin(KfAccount, KfAccount.open_kfid == Conversation.open_kfid)
        .outerjoin(Member, Member.id == Ticket.member_id)
        .outerjoin(Staff, Staff.key == sa.func.lower(Ticket.servicer_userid))
        .outerjoin(TicketMark, TicketMark.ticket_id == Ticket.id)
        .where(_in(queue, staff, now))
        .order_by(*order)
        .limit(SHOWN)
    )
    found = [
        Line(
            row.Ticket.id,
            row.name or "",
            row.Ticket.member_id or 0,
            row.account or "",
            row.Ticket.reason,
            row.Ticket.quote,
            row.Ticket.priority,
            row.Ticket.mode,
            row.Ticket.status,
            row.Ticket.servicer_userid or "",
            row.staff_name or row.Ticket.servicer_userid or "",
            row.Ticket.opened_at,
            row.last_customer_at,
            row.due_at,
            row.warn_at,
            row.Ticket.waiting_since is not None,
            tuple(row.labels or ()),
            row.snoozed_until,
        )
        for row in rows
    ]
    return [one for one in found if not label or label in one.labels]


async def counts(session: AsyncSession, *, staff: str, now: datetime) -> Mapping[Queue, int]:
    """How many tickets each queue of open ones has."""
    wanted = [one for one in Queue if one is not Queue.CLOSED]
    row = (
        await session.execute(
            sa.select(*(sa.func.sum(sa.case((_in(one, staff, now), 1), else_=0)).label(one.value) for one in wanted))
            .select_from(Ticket)
            .join(Conversation, Conversation.id == Ticket.conversation_id)
            .outerjoin(TicketMark, TicketMark.ticket_id == Ticket.id)
            .where(_OPEN)
        )
    ).one()
    return {one: int(getattr(row, one.value) or 0) for one in wanted}


async def newest_step(session: AsyncSession) -> int:
    """Rises whenever anything happens to any ticket, or a customer of one writes."""
    row = sa.select(
        sa.select(sa.func.coalesce(sa.func.max(TicketStep.id), 0)).scalar_subquery()
        + sa.select(sa.func.coalesce(sa.func.max(InboundMessage.id), 0)).scalar_subquery()
    )
    return await session.scalar(row) or 0
