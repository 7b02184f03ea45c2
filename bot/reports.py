"""The numbers the edge's tables can tell: what waits, what is stuck, what was answered."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot.models.conversation import Conversation
from bot.models.faq import FaqQuestion
from bot.models.gateway import CallbackRow, Handling, InboundMessage, KfAccount
from bot.models.handoff import StepKind, Ticket, TicketStatus, TicketStep
from bot.wecom.kf_items import Origin
from crm.base.outbox import OutboxRow, Status

DAY = timedelta(days=1)
WEEK = timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulse:
    """The state of the message flow at one instant. Counts of the last day unless the name says otherwise."""

    received: int  # messages of customers
    answered: int  # messages that WeCom accepted
    open_now: int  # pulled and not yet handled
    waiting_now: int  # in the outbox, not yet gone
    oldest_waiting_at: datetime | None
    dead: int  # will not leave, reason in the row
    unknown: int  # of the last week: may have left; a person decides
    stuck_callbacks: int
    stuck_messages: int
    open_tickets_now: int
    accounts: int
    conversations: int


async def pulse(session: AsyncSession, *, now: datetime) -> Pulse:
    since, week = now - DAY, now - WEEK
    waiting = OutboxRow.status == Status.WAITING
    outbox = (
        await session.execute(
            sa.select(
                sa.func.count().filter(OutboxRow.status == Status.SENT, OutboxRow.settled_at >= since),
                sa.func.count().filter(waiting),
                sa.func.min(OutboxRow.created_at).filter(waiting),
                sa.func.count().filter(OutboxRow.status == Status.DEAD, OutboxRow.settled_at >= since),
                sa.func.count().filter(OutboxRow.status == Status.UNKNOWN, OutboxRow.settled_at >= week),
            )
        )
    ).one()
    return Pulse(
        received=await _count(session, InboundMessage.origin == 3, InboundMessage.received_at >= since),
        answered=outbox[0],
        open_now=await _count(session, InboundMessage.status == Handling.OPEN),
        waiting_now=outbox[1],
        oldest_waiting_at=outbox[2],
        dead=outbox[3],
        unknown=outbox[4],
        stuck_callbacks=await _count(session, CallbackRow.status == Handling.DEAD, CallbackRow.done_at >= now - WEEK),
        stuck_messages=await _count(
            session, InboundMessage.status == Handling.DEAD, InboundMessage.done_at >= now - WEEK
        ),
        open_tickets_now=await _count(session, Ticket.status != TicketStatus.CLOSED),
        accounts=await _count(session, KfAccount.removed_at.is_(None)),
        conversations=await _count(session, Conversation.id > 0),
    )


async def _count(session: AsyncSession, *where: sa.ColumnElement[bool]) -> int:
    return await session.scalar(sa.select(sa.func.count()).where(*where)) or 0


async def why_dead(session: AsyncSession, *, now: datetime, limit: int = 20) -> list[str]:
    """The reasons of the last day's messages that did not leave, the most frequent first."""
    count = sa.func.count()
    rows = await session.execute(
        sa.select(OutboxRow.lane, OutboxRow.error, count)
        .where(OutboxRow.status.in_([Status.DEAD, Status.UNKNOWN]), OutboxRow.settled_at >= now - DAY)
        .group_by(OutboxRow.lane, OutboxRow.error)
        .order_by(count.desc())
        .limit(limit)
    )
    return [f"{lane}: {error} ×{times}" for lane, error, times in rows.all()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Elapsed times, nights included: how many, the middle one, and what nine in ten stay under."""

    count: int
    median: timedelta | None
    p90: timedelta | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HandoffFigures:
    """What a period's conversations and tickets tell; docs/handoff.md defines each. A share of nothing is None."""

    conversations: int  # in which a customer wrote
    tickets: int  # opened
    reasons: Mapping[str, int]
    deflection: float | None  # of the conversations, those without a ticket opened in the period
    questions: int
    misses: int  # questions without an answer
    first_response: Spread
    first_response_met: float | None  # of those answered or overdue, those answered in time
    resolution: Spread
    resolution_met: float | None  # of those closed or overdue, those never broken
    rating_asked: int
    rated: int
    rating: float | None  # mean of 1 to 5
    satisfied: float | None  # of the ratings, 4 and 5


async def handoff(session: AsyncSession, *, since: datetime, until: datetime, now: datetime) -> HandoffFigures:
    """The figures of tickets opened, and questions and conversations of the time, from `since` to before `until`."""
    opened = (Ticket.opened_at >= since, Ticket.opened_at < until)
    tickets = (await session.scalars(sa.select(Ticket).where(*opened))).all()
    broken = set(
        await session.scalars(
            sa.select(TicketStep.ticket_id)
            .join(Ticket, Ticket.id == TicketStep.ticket_id)
            .where(*opened, TicketStep.kind == StepKind.BREACHED, TicketStep.note == "resolution")
        )
    )
    asked = sa.and_(
        FaqQuestion.asked_at >= since, FaqQuestion.asked_at < until, FaqQuestion.conversation_id.is_not(None)
    )
    wrote = sa.and_(
        InboundMessage.origin == Origin.CUSTOMER, InboundMessage.sent_at >= since, InboundMessage.sent_at < until
    )
    talked = await session.scalar(sa.select(sa.func.count(sa.distinct(InboundMessage.conversation_id))).where(wrote))
    needed = len({one.conversation_id for one in tickets})
    answered = [one for one in tickets if one.first_response_at is not None or _is_over(one, now)]
    ended = [one for one in tickets if one.status is TicketStatus.CLOSED or one.id in broken]
    scores = [one.csat_score for one in tickets if one.csat_score is not None]
    return HandoffFigures(
        conversations=talked or 0,
        tickets=len(tickets),
        reasons=Counter(one.reason for one in tickets),
        deflection=_share(max((talked or 0) - needed, 0), talked or 0),
        questions=await _count(session, asked),
        misses=await _count(session, asked, FaqQuestion.decision == "miss"),
        first_response=_spread([one.first_response_at - one.opened_at for one in tickets if one.first_response_at]),
        first_response_met=_share(sum(_in_time(one) for one in answered), len(answered)),
        resolution=_spread(
            [one.closed_at - one.opened_at for one in tickets if one.closed_at and one.first_response_at]
        ),
        resolution_met=_share(sum(one.id not in broken for one in ended), len(ended)),
        rating_asked=sum(one.csat_asked_at is not None for one in tickets),
        rated=len(scores),
        rating=sum(scores) / len(scores) if scores else None,
        satisfied=_share(sum(score >= 4 for score in scores), len(scores)),
    )


def _is_over(ticket: Ticket, now: datetime) -> bool:
    due = ticket.first_response_due_at
    return due is not None and due <= now


def _in_time(ticket: Ticket) -> bool:
    due, given = ticket.first_response_due_at, ticket.first_response_at
    return given is not None and (due is None or given < due)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _spread(times: Sequence[timedelta]) -> Spread:
    """Nearest-rank quantiles: always a time that really occurred."""
    ranked = sorted(times)

    def at(share: float) -> timedelta | None:
        return ranked[max(0, math.ceil(share * len(ranked)) - 1)] if ranked else None

    return Spread(count=len(ranked), median=at(0.5), p90=at(0.9))
