"""Points that go back: a spend to the very lots it took from, an earning from its own lot, from others, or as a debt.

What is taken back after it was spent is a debt: it lowers the balance to nothing, never below, and the next points
that become active pay it, oldest debt first. A member is never asked for it otherwise.
"""

from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from crm import point_accounts, point_ledger
from crm.base.clock import SHANGHAI
from crm.base.errors import NotFound, Refused
from crm.models.loyalty import EntryKind, LotState, PointEntry, PointLot, PointUse
from crm.point_ledger import FRESH, Cause
from crm.points import check


@dataclass(eq=False)
class PointsNotFound(NotFound):
    """Nothing was spent, or earned, for this cause."""

    code = "points.not_found"
    cause_kind: str
    cause_id: str


@dataclass(eq=False)
class TooMuchBack(Refused):
    """More than what is left of a spend, or of an earning, was to go back."""

    code = "points.too_much_back"
    points: int
    left: int


async def lots_of_spend(session: AsyncSession, entry_id: int) -> dict[int, int]:
    """Which lots a spend took its points from, and how many of them have not gone back: lot id -> points."""
    rows = await session.execute(
        sa.select(PointUse.lot_id, sa.func.sum(-PointUse.points))
        .join(PointEntry, PointEntry.id == PointUse.entry_id)
        .where(sa.or_(PointEntry.id == entry_id, PointEntry.of_entry_id == entry_id))
        .group_by(PointUse.lot_id)
        .order_by(sa.func.max(PointUse.id))
    )
    return {lot_id: int(points) for lot_id, points in rows if points}


async def get_spend(session: AsyncSession, cause: Cause) -> PointEntry:
    """What was spent for `cause`. Raises PointsNotFound."""
    told = await point_ledger.find(session, EntryKind.SPENT, cause)
    if told is None:
        raise PointsNotFound(cause.kind, cause.id)
    return told


async def give_back(
    session: AsyncSession,
    cause: Cause,
    *,
    by_cause: Cause,
    points: int | None = None,
    now: datetime,
    zone: ZoneInfo = SHANGHAI,
) -> PointEntry | None:
    """What was spent for `cause` goes back to the very lots it came from, last taken first; all that is left, or some.

    Into a lot that has expired since, it goes back and is gone at once. None: nothing was left to give back.
    Raises PointsNotFound, TooMuchBack.
    """
    if points is not None:
        check(points)
    told = await get_spend(session, cause)
    member_id = await point_ledger.open_account(session, told.member_id, now=now, zone=zone)
    if (known := await point_ledger.find(session, EntryKind.RETURNED, by_cause, points=points)) is not None:
        return known
    uses = await lots_of_spend(session, told.id)
    left = sum(uses.values())
    wanted = left if points is None else points
    if wanted > left:
        raise TooMuchBack(wanted, left)
    if not wanted:
        return None
    entry = await point_ledger.write(
        session, member_id, EntryKind.RETURNED, wanted, by_cause, of=told, now=now, zone=zone
    )
    for lot_id in reversed(uses):
        if step := min(uses[lot_id], wanted):
            await _put_back(session, entry, lot_id, step, now=now, zone=zone)
            wanted -= step
    await point_ledger.collect(session, member_id)
    return entry


async def _put_back(
    session: AsyncSession, entry: PointEntry, lot_id: int, points: int, *, now: datetime, zone: ZoneInfo
) -> None:
    lot = await session.get_one(PointLot, lot_id, populate_existing=True)
    lot.remaining += points
    lot.state = LotState.ACTIVE
    session.add(PointUse(entry_id=entry.id, lot_id=lot_id, points=points))
    await session.flush()
    await point_accounts.move(session, lot.member_id, active=points)
    if lot.expires_at is not None and lot.expires_at <= now:
        await point_ledger.expire(session, lot, Cause("expiry", f"{lot.id}/{entry.id}"), now=now, zone=zone)


async def take_back(
    session: AsyncSession,
    earned: PointEntry,
    due: int,
    *,
    cause: Cause,
    now: datetime,
    zone: ZoneInfo = SHANGHAI,
) -> PointEntry | None:
    """Of what an earning brought, `due` points in all are to be gone: from its own lot, else from others, else owed.

    due counts from the beginning: what was taken back before, or expired unspent, is not taken again. None: nothing
    is left to take. The caller has opened the member's account.
    """
    lot: PointLot | None = await session.scalar(
        sa.select(PointLot).where(PointLot.entry_id == earned.id).execution_options(**FRESH)
    )
    before = sa.select(sa.func.coalesce(sa.func.sum(-PointEntry.points), 0)).where(
        PointEntry.of_entry_id == earned.id, PointEntry.kind == EntryKind.TAKEN_BACK
    )
    wanted = min(due, earned.points) - int(await session.scalar(before) or 0)
    if lot is None or wanted <= 0 or (wanted := wanted - await _expired_of(session, lot)) <= 0:
        return None
    entry = await point_ledger.write(
        session, earned.member_id, EntryKind.TAKEN_BACK, -wanted, cause, of=earned, now=now, zone=zone
    )
    own = 0
    if lot.state is not LotState.EXPIRED:
        was, own = lot.state, await point_ledger.take_from(session, entry, [lot], wanted)
        sums = {"pending": -own} if was is LotState.PENDING else {"active": -own}
        await point_accounts.move(session, earned.member_id, **sums)
    others = await point_ledger.active_lots(session, earned.member_id) if own < wanted else []
    rest = await point_ledger.take_from(session, entry, others, wanted - own)
    entry.owed = wanted - own - rest
    await session.flush()
    await point_accounts.move(session, earned.member_id, active=-rest, owed=entry.owed)
    return entry


async def cancel_earning(
    session: AsyncSession, cause: Cause, *, by_cause: Cause, now: datetime, zone: ZoneInfo = SHANGHAI
) -> PointEntry | None:
    """All that was earned for `cause` is taken back, once. Raises PointsNotFound."""
    told = await point_ledger.find(session, EntryKind.EARNED, cause)
    if told is None:
        raise PointsNotFound(cause.kind, cause.id)
    await point_ledger.open_account(session, told.member_id, now=now, zone=zone)
    return await take_back(session, told, told.points, cause=by_cause, now=now, zone=zone)


# Merges


async def follow_merge(session: AsyncSession, kept_id: int, *, now: datetime, zone: ZoneInfo = SHANGHAI) -> None:
    """The rows came over with the merge; what one of the two owes, the other's points pay."""
    await point_ledger.open_account(session, kept_id, now=now, zone=zone)


async def part(
    session: AsyncSession, kept_id: int, absorbed_id: int, *, now: datetime, zone: ZoneInfo = SHANGHAI
) -> None:
    """A merge was undone: lots and entries went back as they are, and what one spent of the other's is booked so."""
    for member_id in (kept_id, absorbed_id):
        living = await point_ledger.open_account(session, member_id, now=now, zone=zone)
        sums = (await point_accounts.lock(session, [living]))[living]
        booked = sa.select(sa.func.coalesce(sa.func.sum(PointEntry.points), 0)).where(PointEntry.member_id == living)
        if drift := sums.active + sums.pending - sums.owed - int(await session.scalar(booked) or 0):
            last = await session.scalar(sa.select(sa.func.max(PointEntry.id)))
            cause = Cause("merge_undone", f"{living}@{last}")  # an instant would not do: undone twice within one round
            await point_ledger.write(session, living, EntryKind.PARTED, drift, cause, now=now, zone=zone)


async def _expired_of(session: AsyncSession, lot: PointLot) -> int:
    gone = (
        sa.select(sa.func.coalesce(sa.func.sum(-PointUse.points), 0))
        .join(PointEntry, PointEntry.id == PointUse.entry_id)
        .where(PointUse.lot_id == lot.id, PointEntry.kind == EntryKind.EXPIRED)
    )
    return int(await session.scalar(gone) or 0)
