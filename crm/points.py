"""Points: earn, grant, spend, deduct; each once per cause. The balance is a sum of lots.

How they go back is in point_returns, what orders do to them in point_orders, what time does in point_nights.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from crm import loyalty_rules, point_accounts, point_ledger
from crm.base.clock import SHANGHAI, local_day
from crm.base.errors import Invalid, Refused
from crm.models.loyalty import EntryKind, LotState, PointAccount, PointEntry, PointLot
from crm.point_ledger import Cause
from crm.point_rules import PointRules

MOST_AT_ONCE = 10**9
ANY = "any"  # a daily cap over all kinds of causes


@dataclass(eq=False)
class PointsWrong(Invalid):
    """Points are moved by whole numbers from 1 to a thousand million."""

    code = "points.wrong_number"
    points: int


@dataclass(eq=False)
class ReasonMissing(Invalid):
    """Who moves points by hand says why, and who they are."""

    code = "points.reason_missing"
    field: str


@dataclass(eq=False)
class NotEnoughPoints(Refused):
    """The member has fewer points that can be spent."""

    code = "points.not_enough"
    points: int
    available: int


@dataclass(eq=False)
class NoPoints(Refused):
    """The shop has no points programme."""

    code = "points.none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """What a member has at one moment. owed is above zero only while active is zero."""

    active: int
    pending: int
    owed: int
    next_active_at: datetime | None  # when the first pending points can be spent
    expiring: int  # of the active ones, those that expire within the days asked for
    expires_at: datetime | None  # when the first of the active ones expire


# Reads


async def balance_of(session: AsyncSession, member_id: int, *, now: datetime, within_days: int = 30) -> Balance:
    """One query. True at `now`, also when the sweep has not come by since something became due."""
    lot = PointLot
    until = now + timedelta(days=within_days)
    alive = sa.or_(lot.expires_at.is_(None), lot.expires_at > now)
    active = sa.and_(lot.state != LotState.EXPIRED, lot.active_at <= now, alive)
    soon = sa.and_(active, lot.expires_at <= until)
    owed = sa.select(PointAccount.owed).where(PointAccount.member_id == member_id).scalar_subquery()
    row = (
        await session.execute(
            sa.select(
                _sum(active), _sum(lot.active_at > now), _sum(soon), sa.func.coalesce(owed, 0),
                sa.func.min(sa.case((lot.active_at > now, lot.active_at))),
                sa.func.min(sa.case((active, lot.expires_at))),
            ).where(lot.member_id == member_id, lot.remaining > 0)
        )
    ).one()  # fmt: skip
    (has, pending, expiring, owes), next_active_at, expires_at = map(int, row[:4]), row[4], row[5]
    left = max(has - owes, 0)
    return Balance(
        active=left,
        pending=pending,
        owed=max(owes - has, 0),
        next_active_at=next_active_at,
        expiring=min(expiring, left),
        expires_at=expires_at if left else None,
    )


async def statement_of(session: AsyncSession, member_id: int, *, limit: int = 20) -> list[PointEntry]:
    """A member's newest movements, newest first."""
    rows = await session.scalars(
        sa.select(PointEntry)
        .where(PointEntry.member_id == member_id)
        .order_by(PointEntry.booked_on.desc(), PointEntry.id.desc())
        .limit(limit)
    )
    return list(rows)


# Verbs: what comes in


async def earn(
    session: AsyncSession,
    member_id: int,
    points: int,
    *,
    cause: Cause,
    rules: PointRules | None = None,
    active_at: datetime | None = None,
    expires_at: datetime | None = None,
    facts: dict[str, Any] | None = None,
    now: datetime,
    zone: ZoneInfo = SHANGHAI,
) -> PointEntry:
    """Points for something a member did, as far as the day's caps let. Raises NoPoints, PointsWrong.

    active_at: until then they are pending. expires_at: unless given, by the rules from today. An entry of 0 says that
    the cap was reached.
    """
    check(points)
    rules = rules or await loyalty_rules.of_points(session)
    if rules is None:
        raise NoPoints
    member_id = await point_ledger.open_account(session, member_id, now=now, zone=zone)
    if (known := await point_ledger.find(session, EntryKind.EARNED, cause, member_id=member_id)) is not None:
        return known
    allowed = await _under_caps(session, member_id, points, cause.kind, rules, now=now, zone=zone)
    told = (facts or {}) | ({"capped_from": points} if allowed < points else {})
    entry = await point_ledger.write(
        session, member_id, EntryKind.EARNED, allowed, cause, facts=told, now=now, zone=zone
    )
    ends = expires_at or rules.expires_at(local_day(now, zone), zone)
    await point_ledger.bring(session, entry, active_at=active_at or now, expires_at=ends, now=now)
    return entry


async def grant(
    session: AsyncSession,
    member_id: int,
    points: int,
    *,
    cause: Cause,
    reason: str,
    by: str,
    expires_at: datetime | None = None,
    now: datetime,
    zone: ZoneInfo = SHANGHAI,
) -> PointEntry:
    """Points by hand, with a reason and who gave them; no cap. expires_at: unless given, by the rules."""
    check(points)
    check_words(reason, by)
    member_id = await point_ledger.open_account(session, member_id, now=now, zone=zone)
    if known := await point_ledger.find(session, EntryKind.GRANTED, cause, member_id=member_id, points=points):
        return known
    rules = await loyalty_rules.of_points(session)
    ends = expires_at or (rules.expires_at(local_day(now, zone), zone) if rules is not None else None)
    entry = await point_ledger.write(
        session, member_id, EntryKind.GRANTED, points, cause, reason=reason.strip(), by=by, now=now, zone=zone
    )
    await point_ledger.bring(session, entry, active_at=now, expires_at=ends, now=now)
    return entry


# Verbs: what goes out


async def spend(
    session: AsyncSession,
    member_id: int,
    points: int,
    *,
    cause: Cause,
    reason: str = "",
    now: datetime,
    zone: ZoneInfo = SHANGHAI,
) -> PointEntry:
    """Spend points, those that expire first. Raises NotEnoughPoints, PointsWrong, CauseToldDifferently."""
    return await _pay(session, member_id, points, EntryKind.SPENT, cause, reason=reason, by="", now=now, zone=zone)


async def deduct(
    session: AsyncSession,
    member_id: int,
    points: int,
    *,
    cause: Cause,
    reason: str,
    by: str,
    now: datetime,
    zone: ZoneInfo = SHANGHAI,
) -> PointEntry:
    """Take points by hand, with a reason and who took them; never more than there are. Raises like spend()."""
    check_words(reason, by)
    return await _pay(
        session, member_id, points, EntryKind.DEDUCTED, cause, reason=reason.strip(), by=by, now=now, zone=zone
    )


async def _pay(
    session: AsyncSession,
    member_id: int,
    points: int,
    kind: EntryKind,
    cause: Cause,
    *,
    reason: str,
    by: str,
    now: datetime,
    zone: ZoneInfo,
) -> PointEntry:
    check(points)
    member_id = await point_ledger.open_account(session, member_id, now=now, zone=zone)
    if (known := await point_ledger.find(session, kind, cause, member_id=member_id, points=-points)) is not None:
        return known
    if not await point_accounts.take(session, member_id, points):
        sums = (await point_accounts.lock(session, [member_id]))[member_id]
        raise NotEnoughPoints(points, sums.active)
    entry = await point_ledger.write(session, member_id, kind, -points, cause, reason=reason, by=by, now=now, zone=zone)
    await point_ledger.take_from(session, entry, await point_ledger.active_lots(session, member_id), points)
    return entry


# Pieces


def _sum(which: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    return sa.func.coalesce(sa.func.sum(sa.case((which, PointLot.remaining), else_=0)), 0)


async def _under_caps(
    session: AsyncSession, member_id: int, points: int, kind: str, rules: PointRules, *, now: datetime, zone: ZoneInfo
) -> int:
    """How many of these points the day still lets in."""
    for capped in (kind, ANY):
        if (cap := rules.daily_caps.get(capped)) is None:
            continue
        today = sa.select(sa.func.coalesce(sa.func.sum(PointEntry.points), 0)).where(
            PointEntry.member_id == member_id,
            PointEntry.booked_on == local_day(now, zone),
            PointEntry.kind == EntryKind.EARNED,
            *(() if capped == ANY else (PointEntry.cause_kind == kind,)),
        )
        points = min(points, max(cap - int(await session.scalar(today) or 0), 0))
    return points


def check(points: int) -> None:
    """Raises PointsWrong."""
    if not 0 < points <= MOST_AT_ONCE:
        raise PointsWrong(points)


def check_words(reason: str, by: str) -> None:
    """Raises ReasonMissing."""
    for field, said in (("reason", reason), ("by", by)):
        if not said.strip():
            raise ReasonMissing(field)
