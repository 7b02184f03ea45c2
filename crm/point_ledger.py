"""The rows under every movement of points: what comes in is a lot, what goes out is taken from lots.

Who moves points holds the person, then the account, then touches lots and entries; the nightly sweep waits for nobody.
At each opening what is due happens first: pending lots become active, debts are paid from them, old lots expire.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from crm import holds, point_accounts
from crm.base import events
from crm.base.clock import SHANGHAI, local_day
from crm.base.errors import Refused
from crm.models.loyalty import EntryKind, LotState, PointEntry, PointLot, PointUse
from crm.point_accounts import Sums

FRESH = {"populate_existing": True}


@dataclass(frozen=True, slots=True)
class Cause:
    """Why points moved, by kind and number: the same cause moves them once."""

    kind: str  # "order", "check_in", "coupon", "manual" …
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PointsMoved:
    """A member's points became more or fewer. Appended with every entry of the ledger."""

    entry_id: int
    member_id: int
    kind: EntryKind
    points: int
    cause_kind: str
    cause_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PointsActivated:
    """Points that were pending can be spent from now on."""

    member_id: int
    points: int


@dataclass(eq=False)
class CauseToldDifferently(Refused):
    """This cause moved another number of points, or somebody else's."""

    code = "points.cause_told_differently"
    cause_kind: str
    cause_id: str
    known_points: int


async def open_account(session: AsyncSession, member_id: int, *, now: datetime, zone: ZoneInfo = SHANGHAI) -> int:
    """Hold a person and their points; what is due by now has happened. Returns the member they are by now."""
    living = await holds.hold(session, member_id)
    sums = (await point_accounts.lock(session, [living]))[living]
    await settle(session, living, sums, now=now, zone=zone)
    return living


async def settle(
    session: AsyncSession, member_id: int, sums: Sums, *, now: datetime, zone: ZoneInfo = SHANGHAI
) -> None:
    """Bring a locked account to `now`."""
    due = await _lots(
        session,
        member_id,
        sa.or_(
            sa.and_(PointLot.state == LotState.PENDING, PointLot.active_at <= now),
            sa.and_(PointLot.state == LotState.ACTIVE, PointLot.remaining > 0, PointLot.expires_at <= now),
        ),
    )
    ripe = [lot for lot in due if lot.state is LotState.PENDING]
    if ripe:
        await _activate(session, member_id, ripe, now=now)
    if sums.owed and (ripe or sums.active):
        await collect(session, member_id)
    for lot in due:
        if lot.expires_at is not None and lot.expires_at <= now:
            await expire(session, lot, Cause("expiry", str(lot.id)), now=now, zone=zone)


async def _activate(session: AsyncSession, member_id: int, ripe: Sequence[PointLot], *, now: datetime) -> None:
    points = sum(lot.remaining for lot in ripe)
    for lot in ripe:
        lot.state = LotState.ACTIVE
    await session.flush()
    await point_accounts.move(session, member_id, active=points, pending=-points)
    if points:
        await events.append(session, PointsActivated(member_id=member_id, points=points), now=now)


async def expire(session: AsyncSession, lot: PointLot, cause: Cause, *, now: datetime, zone: ZoneInfo) -> None:
    """An active lot whose time is over loses what it still holds."""
    gone, lot.state = lot.remaining, LotState.EXPIRED
    if gone:
        entry = await write(session, lot.member_id, EntryKind.EXPIRED, -gone, cause, now=now, zone=zone)
        await take_from(session, entry, [lot], gone)
        await point_accounts.move(session, lot.member_id, active=-gone)
    await session.flush()


async def collect(session: AsyncSession, member_id: int) -> None:
    """Pay debts from what can be spent, the oldest debt first: who owes has nothing to spend."""
    debts = await session.scalars(
        sa.select(PointEntry)
        .where(PointEntry.member_id == member_id, PointEntry.owed > 0)
        .order_by(PointEntry.id)
        .execution_options(**FRESH)
    )
    found, paid = list(debts), 0
    lots = await active_lots(session, member_id) if found else []
    for debt in found:
        step = await take_from(session, debt, lots, debt.owed)
        debt.owed -= step
        paid += step
    await session.flush()
    await point_accounts.move(session, member_id, active=-paid, owed=-paid)


async def find(
    session: AsyncSession, kind: EntryKind, cause: Cause, *, member_id: int | None = None, points: int | None = None
) -> PointEntry | None:
    """The entry of this kind and cause. Raises CauseToldDifferently if it is not about what is given here."""
    found: PointEntry | None = await session.scalar(
        sa.select(PointEntry)
        .where(PointEntry.kind == kind, PointEntry.cause_kind == cause.kind, PointEntry.cause_id == cause.id)
        .execution_options(**FRESH)
    )
    if found is not None and (member_id or found.member_id, found.points if points is None else points) != (
        found.member_id,
        found.points,
    ):
        raise CauseToldDifferently(cause.kind, cause.id, found.points)
    return found


async def write(
    session: AsyncSession,
    member_id: int,
    kind: EntryKind,
    points: int,
    cause: Cause,
    *,
    owed: int = 0,
    of: PointEntry | None = None,
    reason: str = "",
    by: str = "",
    facts: dict[str, Any] | None = None,
    now: datetime,
    zone: ZoneInfo = SHANGHAI,
) -> PointEntry:
    """One entry, and the event that tells of it; lots and account are moved by the caller."""
    entry = PointEntry(
        member_id=member_id,
        kind=kind,
        points=points,
        owed=owed,
        cause_kind=cause.kind,
        cause_id=cause.id,
        of_entry_id=of.id if of is not None else None,
        reason=reason,
        by=by,
        facts=facts or {},
        at=now,
        booked_on=local_day(now, zone),
    )
    session.add(entry)
    await session.flush()
    told = PointsMoved(
        entry_id=entry.id,
        member_id=member_id,
        kind=kind,
        points=points,
        cause_kind=cause.kind,
        cause_id=cause.id,
    )
    await events.append(session, told, now=now)
    return entry


async def bring(
    session: AsyncSession, entry: PointEntry, *, active_at: datetime, expires_at: datetime | None, now: datetime
) -> None:
    """The lot of an entry that brought points; what can be spent at once pays debts first."""
    if not entry.points:
        return
    state = LotState.ACTIVE if active_at <= now else LotState.PENDING
    lot = PointLot(
        member_id=entry.member_id,
        entry_id=entry.id,
        points=entry.points,
        remaining=entry.points,
        state=state,
        active_at=active_at,
        expires_at=expires_at,
    )
    session.add(lot)
    await session.flush()
    if state is LotState.PENDING:
        await point_accounts.move(session, entry.member_id, pending=entry.points)
    else:
        await point_accounts.move(session, entry.member_id, active=entry.points)
        await collect(session, entry.member_id)


async def take_from(session: AsyncSession, entry: PointEntry, lots: Iterable[PointLot], points: int) -> int:
    """Take up to `points` out of these lots, in their order; returns how many there were. The account is not moved."""
    taken = 0
    for lot in lots:
        if step := min(lot.remaining, points - taken):
            lot.remaining -= step
            session.add(PointUse(entry_id=entry.id, lot_id=lot.id, points=-step))
            taken += step
    await session.flush()
    return taken


async def active_lots(session: AsyncSession, member_id: int) -> list[PointLot]:
    """What can be spent, in the order in which it is: oldest expiry first, what never expires last."""
    return await _lots(session, member_id, PointLot.state == LotState.ACTIVE, PointLot.remaining > 0)


async def _lots(session: AsyncSession, member_id: int, *where: sa.ColumnElement[bool]) -> list[PointLot]:
    rows = await session.scalars(
        sa.select(PointLot)
        .where(PointLot.member_id == member_id, *where)
        .order_by(PointLot.expires_at.is_(None), PointLot.expires_at, PointLot.id)
        .execution_options(**FRESH)
    )
    return list(rows)
