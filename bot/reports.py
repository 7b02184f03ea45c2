"""The numbers the edge's tables can tell: what waits, what is stuck, what was answered."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot.models.conversation import Conversation
from bot.models.gateway import CallbackRow, Handling, InboundMessage, KfAccount
from bot.models.handoff import Ticket, TicketStatus
from crm.base.outbox import OutboxRow, Status

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulse:
    """The state of the message flow at one instant. Counts of the last day unless the name says otherwise."""

    received: int  # messages of customers
    answered: int  # messages that WeCom accepted
    open_now: int  # pulled and not yet handled
    waiting_now: int  # in the outbox, not yet gone
    oldest_waiting_at: datetime | None
    dead: int  # will not leave, reason in the row
    unknown_now: int  # may have left; a person decides
    stuck_callbacks_now: int
    stuck_messages_now: int
    open_tickets_now: int
    accounts: int
    conversations: int


async def pulse(session: AsyncSession, *, now: datetime) -> Pulse:
    since = now - DAY
    waiting = OutboxRow.status == Status.WAITING
    outbox = (
        await session.execute(
            sa.select(
                sa.func.count().filter(OutboxRow.status == Status.SENT, OutboxRow.settled_at >= since),
                sa.func.count().filter(waiting),
                sa.func.min(OutboxRow.created_at).filter(waiting),
                sa.func.count().filter(OutboxRow.status == Status.DEAD, OutboxRow.settled_at >= since),
                sa.func.count().filter(OutboxRow.status == Status.UNKNOWN),
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
        unknown_now=outbox[4],
        stuck_callbacks_now=await _count(session, CallbackRow.status == Handling.DEAD),
        stuck_messages_now=await _count(session, InboundMessage.status == Handling.DEAD),
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
