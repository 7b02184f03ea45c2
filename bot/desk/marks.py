"""What agents put on tickets: labels, a pause, a seat in front of it, one ticket joined to another."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot.handoff import desk, queue
from bot.handoff.policy import Policy
from bot.models.access import Account
from bot.models.desk import DeskSeat, TicketMark
from bot.models.handoff import StepKind, Ticket, TicketMode, TicketStatus
from crm.base.db import insert
from crm.base.errors import Invalid

SEEN_FOR = timedelta(seconds=25)
TYPES_FOR = timedelta(seconds=8)
LABELS = 8
LABEL_CHARS = 16


@dataclass(eq=False)
class SnoozeInvalid(Invalid):
    """A pause ends in the future, within 30 days."""

    code: ClassVar[str] = "desk.snooze_invalid"


@dataclass(eq=False)
class CannotMerge(Invalid):
    """Two open tickets of the same member can be joined, and no others."""

    code: ClassVar[str] = "desk.cannot_merge"


@dataclass(frozen=True, slots=True)
class Colleague:
    """Somebody else who has this ticket open."""

    name: str
    types: bool


async def label(session: AsyncSession, ticket_id: int, words: str) -> tuple[str, ...]:
    """Exactly these labels from now on, written with commas or spaces."""
    parts = [one[:LABEL_CHARS] for one in words.replace("，", " ").replace(",", " ").replace("、", " ").split()]
    labels = list(dict.fromkeys(parts))[:LABELS]
    await _mark(session, ticket_id, labels=labels)
    return tuple(labels)


async def snooze(session: AsyncSession, ticket_id: int, until: datetime | None, *, now: datetime) -> None:
    """Out of the queues until then, or until the customer writes; None: back at once. Raises SnoozeInvalid."""
    if until is not None and not now < until <= now + timedelta(days=30):
        raise SnoozeInvalid
    await _mark(session, ticket_id, snoozed_until=until, snoozed_at=now)


async def merge(session: AsyncSession, ticket_id: int, into: int, *, staff: str, policy: Policy, now: datetime) -> None:
    """This ticket is closed, its matter goes on in the other one. Raises CannotMerge, and what desk.close raises."""
    here = await session.get(Ticket, ticket_id, populate_existing=True)
    there = await session.get(Ticket, into, populate_existing=True)
    both = [one for one in (here, there) if one is not None and one.status is not TicketStatus.CLOSED]
    if len(both) < 2 or ticket_id == into or both[0].member_id is None or both[0].member_id != both[1].member_id:
        raise CannotMerge
    if both[0].mode is not TicketMode.DESK:
        raise CannotMerge
    await queue.step(session, into, StepKind.NOTED, now=now, by=staff, note=f"并入工单 {ticket_id}：{both[0].quote}")
    await _mark(session, ticket_id, merged_into=into)
    await desk.close(session, ticket_id, staff=staff, policy=policy, now=now)


async def of(session: AsyncSession, ticket_id: int) -> TicketMark | None:
    found: TicketMark | None = await session.get(TicketMark, ticket_id, populate_existing=True)
    return found


async def sit(session: AsyncSession, ticket_id: int, account_id: int, *, types: bool, now: datetime) -> None:
    """This account has the ticket open, and is typing or not."""
    typing_at = now if types else None
    row = insert(session, DeskSeat).values(ticket_id=ticket_id, account_id=account_id, seen_at=now, typing_at=typing_at)
    await session.execute(
        row.on_conflict_do_update(
            index_elements=["ticket_id", "account_id"], set_={"seen_at": now, "typing_at": typing_at}
        )
    )


async def colleagues(session: AsyncSession, ticket_id: int, *, but: int, now: datetime) -> Sequence[Colleague]:
    """Who else is looking at it right now."""
    rows = await session.execute(
        sa.select(Account.title, DeskSeat.typing_at)
        .join(Account, Account.id == DeskSeat.account_id)
        .where(DeskSeat.ticket_id == ticket_id, DeskSeat.account_id != but, DeskSeat.seen_at > now - SEEN_FOR)
        .order_by(Account.title)
    )
    return [Colleague(title, at is not None and at > now - TYPES_FOR) for title, at in rows]


async def _mark(session: AsyncSession, ticket_id: int, **values: object) -> None:
    row = insert(session, TicketMark).values(**{"ticket_id": ticket_id, "labels": [], **values})
    await session.execute(row.on_conflict_do_update(index_elements=["ticket_id"], set_=values))
