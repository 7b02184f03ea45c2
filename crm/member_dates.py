"""Days that come once a year for a member: their birthday, a child's, a pet's; each coming is one event."""

import calendar
from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from crm.base import events
from crm.base.clock import SHANGHAI, local_day
from crm.base.db import insert
from crm.base.errors import Invalid
from crm.models.lifecycle import DateKind, MemberDate

TOGETHER = 500
LEAP_YEAR = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberDateCame:
    """A member's day came. Appended by come() once a year; `came_on` is earlier than today if we slept through it."""

    member_id: int
    kind: DateKind
    whose: str  # the child's or the pet's name; "" when it was not told
    came_on: date
    age: int | None  # years; None: the year was not told


@dataclass(eq=False)
class NoSuchDay(Invalid):
    """The calendar has no such day."""

    code = "member_date.no_such_day"
    month: int
    day: int


async def remember(
    session: AsyncSession,
    member_id: int,
    kind: DateKind,
    *,
    month: int,
    day: int,
    year: int | None = None,
    whose: str = "",
    now: datetime,
    zone: ZoneInfo = SHANGHAI,
) -> None:
    """Keep a member's day, or correct the one known under this name. Today's still comes today. Raises NoSuchDay."""
    if not 1 <= month <= 12 or not 1 <= day <= calendar.monthrange(year or LEAP_YEAR, month)[1]:
        raise NoSuchDay(month, day)
    row = {"month": month, "day": day, "year": year, "next_on": next_coming(month, day, local_day(now, zone))}
    told = insert(session, MemberDate).values(member_id=member_id, kind=kind, whose=whose, **row)
    await session.execute(told.on_conflict_do_update(index_elements=["member_id", "kind", "whose"], set_=row))


async def forget(session: AsyncSession, member_id: int, kind: DateKind, *, whose: str = "") -> None:
    await session.execute(
        sa.delete(MemberDate).where(
            MemberDate.member_id == member_id, MemberDate.kind == kind, MemberDate.whose == whose
        )
    )


async def of(session: AsyncSession, member_id: int) -> list[MemberDate]:
    """A member's days, the next one first."""
    rows = await session.scalars(
        sa.select(MemberDate).where(MemberDate.member_id == member_id).order_by(MemberDate.next_on, MemberDate.id)
    )
    return list(rows)


async def come(session: AsyncSession, *, now: datetime, zone: ZoneInfo = SHANGHAI, limit: int = TOGETHER) -> int:
    """Tell of the days that have come, up to `limit`; returns how many it touched, so that the caller goes on until 0.

    `told_on` moves in the same transaction as the event: that makes it once a year. A day stays the next one until it
    is over, so that who has their birthday today is found by it all day.
    """
    today = local_day(now, zone)
    untold = sa.or_(MemberDate.told_on.is_(None), MemberDate.told_on < MemberDate.next_on)
    rows = await session.scalars(
        sa.select(MemberDate)
        .where(MemberDate.next_on <= today, sa.or_(MemberDate.next_on < today, untold))
        .order_by(MemberDate.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    )
    found = list(rows)
    came = [one for one in found if one.told_on is None or one.told_on < one.next_on]
    await events.append_all(session, [_came(one) for one in came], now=now)
    for one in found:
        one.told_on = one.next_on
        if one.next_on < today:
            one.next_on = next_coming(one.month, one.day, today)
    await session.flush()
    return len(found)


async def follow_merge(session: AsyncSession, kept_id: int, absorbed_id: int) -> None:
    """Days of the absorbed member become the kept one's; a day both have is the kept one's own."""
    known = {(one.kind, one.whose) for one in await of(session, kept_id)}
    for one in await of(session, absorbed_id):
        if (one.kind, one.whose) in known:
            await session.delete(one)
        else:
            one.member_id = kept_id
    await session.flush()


def next_coming(month: int, day: int, today: date) -> date:
    """The first such day from `today` on; 29 February comes on the 28th where there is none."""
    this_year = _in_year(today.year, month, day)
    return this_year if this_year >= today else _in_year(today.year + 1, month, day)


def _in_year(year: int, month: int, day: int) -> date:
    return date(year, month, min(day, calendar.monthrange(year, month)[1]))


def _came(one: MemberDate) -> MemberDateCame:
    age = one.next_on.year - one.year if one.year is not None else None
    return MemberDateCame(member_id=one.member_id, kind=one.kind, whose=one.whose, came_on=one.next_on, age=age)
