"""Two members prove to be one: their claims and places in queues join."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from bot.flashsale import allocator
from bot.models.sale import Claim, ClaimLine, ClaimStatus, Waiter, WaiterStatus

NO_SYNC = {"synchronize_session": False}


async def follow_merge(session: AsyncSession, kept_id: int, absorbed_id: int, *, now: datetime) -> None:
    """Re-point what the absorbed member had.

    Where both hold an unpaid claim of one item, the later one falls due at once: a person has one at most, and the
    release hands its units on. Paid claims all stay, also beyond the limit: they were sold.
    """
    theirs = sa.select(Claim.item_id).where(Claim.member_id == absorbed_id, Claim.status == ClaimStatus.HELD)
    waits = sa.select(Waiter.item_id).where(Waiter.member_id == absorbed_id, Waiter.status == WaiterStatus.WAITING)
    await allocator.lock_items(session, set(await session.scalars(theirs.union(waits))))
    other = aliased(Claim)
    doubled = sa.exists().where(
        other.member_id == kept_id, other.item_id == Claim.item_id, other.status == ClaimStatus.HELD
    )
    held_by_both = (Claim.member_id == absorbed_id, Claim.status == ClaimStatus.HELD, doubled)
    await session.execute(sa.update(Claim).where(*held_by_both).values(pay_due_at=now), execution_options=NO_SYNC)
    moves = sa.update(Claim).where(Claim.member_id == absorbed_id, ~sa.and_(*held_by_both))
    await session.execute(moves.values(member_id=kept_id), execution_options=NO_SYNC)
    await _join_queues(session, kept_id, absorbed_id, now=now)
    lines = sa.update(ClaimLine).where(ClaimLine.member_id == absorbed_id).values(member_id=kept_id)
    await session.execute(lines, execution_options=NO_SYNC)


async def _join_queues(session: AsyncSession, kept_id: int, absorbed_id: int, *, now: datetime) -> None:
    """Of two places in one queue the absorbed member's is given up."""
    other = aliased(Waiter)
    waits_too = sa.exists().where(
        other.member_id == kept_id, other.item_id == Waiter.item_id, other.status == WaiterStatus.WAITING
    )
    twice = (Waiter.member_id == absorbed_id, Waiter.status == WaiterStatus.WAITING, waits_too)
    ended = sa.update(Waiter).where(*twice).values(status=WaiterStatus.GONE, ended_at=now)
    await session.execute(ended, execution_options=NO_SYNC)
    moved = sa.update(Waiter).where(Waiter.member_id == absorbed_id).values(member_id=kept_id)
    await session.execute(moved, execution_options=NO_SYNC)
