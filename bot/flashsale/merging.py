"""Two members prove to be one, or to be two after all: claims and places in queues belong to whom they are by now.

A claim remembers who made it (`came_from`) once a merge has carried it further, so its owner can always be told from
the members alone: the living one of whom it came from. What is elsewhere is brought there, by the reaction to a merge
or to its undoing, and by a look every minute for what came in between.
"""

from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from bot.flashsale import allocator
from bot.models.newcomer import Newcomer
from bot.models.sale import Claim, ClaimLine, ClaimStatus, Waiter, WaiterStatus
from crm.models.member import Member

NO_SYNC = {"synchronize_session": False}
TOGETHER = 500
Whose = sa.ColumnElement[bool]


class Astray(NamedTuple):
    """A claim or a place that is not its owner's. origin: who made it."""

    id: int
    item_id: int
    member_id: int
    origin: int
    owner: int


async def follow_merge(session: AsyncSession, kept_id: int, absorbed_id: int, *, now: datetime) -> None:
    """Bring what the absorbed member had to who they are by now, and what an undone merge had brought to its owner.

    Where both hold an unpaid claim of one item, the later one falls due at once and follows when it is released: a
    person has one at most, and the release hands its units on. Paid claims all stay, also beyond the limit: they were
    sold. Of two places in one queue the one that would move is given up.
    """
    pair = [kept_id, absorbed_id]
    await _settle(session, Claim.member_id.in_(pair), Waiter.member_id.in_(pair), now=now)
    theirs = sa.select(Newcomer.sale_id).where(Newcomer.member_id == kept_id)
    faces = sa.update(Newcomer).where(Newcomer.member_id == absorbed_id, Newcomer.sale_id.not_in(theirs))
    if await session.scalar(sa.select(Member.merged_into_id).where(Member.id == absorbed_id)) == kept_id:
        await session.execute(faces.values(member_id=kept_id), execution_options=NO_SYNC)
    lines = sa.update(ClaimLine).where(ClaimLine.member_id == absorbed_id, ClaimLine.done_at.is_(None))
    living = sa.select(sa.func.coalesce(Member.merged_into_id, Member.id)).where(Member.id == absorbed_id)
    await session.execute(lines.values(member_id=living.scalar_subquery()), execution_options=NO_SYNC)


async def settle_stray(session: AsyncSession, *, now: datetime) -> int:
    """Bring home what a request wrote for a member while they were being merged; returns how many claims moved."""
    absorbed = sa.select(Member.id).where(Member.merged_into_id.is_not(None))
    return await _settle(
        session,
        sa.or_(Claim.member_id.in_(absorbed), Claim.came_from.is_not(None)),
        sa.or_(Waiter.member_id.in_(absorbed), Waiter.came_from.is_not(None)),
        now=now,
    )


async def _settle(session: AsyncSession, claims: Whose, waits: Whose, *, now: datetime) -> int:
    astray = await _astray(session, Claim, claims)
    places = await _astray(session, Waiter, sa.and_(waits, Waiter.status == WaiterStatus.WAITING))
    if not astray and not places:
        return 0
    await allocator.lock_items(session, {row.item_id for row in (*astray, *places)})
    moved = 0
    for row in astray:
        mine = sa.and_(Claim.id == row.id, Claim.member_id == row.member_id)
        held = sa.and_(Claim.status == ClaimStatus.HELD, _has(Claim, row.owner, ClaimStatus.HELD))
        due = sa.update(Claim).where(mine, held, Claim.pay_due_at > now).values(pay_due_at=now)
        await session.execute(due, execution_options=NO_SYNC)
        moves = sa.update(Claim).where(mine, ~held).values(_moved(row)).returning(Claim.id)
        moved += await session.scalar(moves, execution_options=NO_SYNC) is not None
    for row in places:
        mine = sa.and_(Waiter.id == row.id, Waiter.member_id == row.member_id, Waiter.status == WaiterStatus.WAITING)
        waits_too = _has(Waiter, row.owner, WaiterStatus.WAITING)
        ended = sa.update(Waiter).where(mine, waits_too).values(status=WaiterStatus.GONE, ended_at=now)
        await session.execute(ended, execution_options=NO_SYNC)
        await session.execute(sa.update(Waiter).where(mine).values(_moved(row)), execution_options=NO_SYNC)
    return moved


async def _astray(session: AsyncSession, table: type[Claim | Waiter], whose: Whose) -> list[Astray]:
    """Rows that are not their owner's, the oldest first."""
    origin = sa.func.coalesce(table.came_from, table.member_id)
    owner = sa.func.coalesce(Member.merged_into_id, Member.id)
    found = await session.execute(
        sa.select(table.id, table.item_id, table.member_id, origin.label("origin"), owner.label("owner"))
        .join(Member, Member.id == origin)
        .where(whose, owner != table.member_id)
        .order_by(table.id)
        .limit(TOGETHER)
    )
    return [Astray(*row) for row in found]


def _has(table: type[Claim | Waiter], member_id: int, status: ClaimStatus | WaiterStatus) -> Whose:
    """Whether this member has such a row of the same item."""
    other = aliased(table)
    return sa.exists().where(other.item_id == table.item_id, other.member_id == member_id, other.status == status)


def _moved(row: Astray) -> dict[str, int | None]:
    """The row with its owner; who made it is remembered while that is somebody else."""
    return {"member_id": row.owner, "came_from": None if row.origin == row.owner else row.origin}
