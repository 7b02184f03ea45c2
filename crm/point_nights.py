"""What time alone does to points: pending ones become active, old ones expire, and their members are told before.

A sweep takes people and accounts that nobody holds and leaves the others for the next look, so it waits for nobody.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from crm import loyalty_rules, point_accounts, point_ledger
from crm.base import events
from crm.base.clock import SHANGHAI, local_day
from crm.models.loyalty import LotState, PointAccount, PointLot
from crm.models.member import Member

TOGETHER = 200
SPENDABLE = (PointLot.state == LotState.ACTIVE, PointLot.remaining > 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class PointsExpiring:
    """Some of a member's points expire soon. Appended once for each lot, `warn_days` before; several together."""

    member_id: int
    points: int
    first_on: date  # the last day on which the first of them can be spent, shop-local


async def settle_due(session: AsyncSession, *, now: datetime, zone: ZoneInfo = SHANGHAI, limit: int = TOGETHER) -> int:
    """Activate and expire what is due, up to `limit` members; returns how many, so that the caller goes on until 0."""
    ripe = sa.select(PointLot.member_id).where(PointLot.state == LotState.PENDING, PointLot.active_at <= now)
    over = sa.select(PointLot.member_id).where(*SPENDABLE, PointLot.expires_at <= now)
    held = await _hold(session, ripe.union(over), limit)
    for member_id, sums in (await point_accounts.lock(session, held)).items() if held else ():
        await point_ledger.settle(session, member_id, sums, now=now, zone=zone)
    return len(held)


async def warn(session: AsyncSession, *, now: datetime, zone: ZoneInfo = SHANGHAI, limit: int = TOGETHER) -> int:
    """Tell of points that expire soon, up to `limit` members; returns how many. `told_at` makes it once for a lot."""
    rules = await loyalty_rules.of_points(session)
    if rules is None:
        return 0
    until = now + timedelta(days=rules.warn_days)
    untold = (*SPENDABLE, PointLot.told_at.is_(None), PointLot.expires_at > now, PointLot.expires_at <= until)
    held = await _hold(session, sa.select(PointLot.member_id).where(*untold), limit)
    if not held:
        return 0
    told = await session.execute(
        sa.update(PointLot)
        .where(PointLot.member_id.in_(held), *untold)
        .values(told_at=now)
        .returning(PointLot.member_id, PointLot.remaining, PointLot.expires_at),
        execution_options={"synchronize_session": False},
    )
    found: dict[int, tuple[int, datetime]] = {}
    for member_id, points, expires_at in told:
        if expires_at is None:
            continue
        sum_, first = found.get(member_id, (0, expires_at))
        found[member_id] = (sum_ + points, min(first, expires_at))
    news = [
        PointsExpiring(member_id=member_id, points=points, first_on=last_day(first, zone))
        for member_id, (points, first) in sorted(found.items())
    ]
    await events.append_all(session, news, now=now)
    return len(held)


def last_day(expires_at: datetime, zone: ZoneInfo = SHANGHAI) -> date:
    """The last shop-local day on which points with this expiry can be spent."""
    return local_day(expires_at - timedelta(microseconds=1), zone)


async def _hold(session: AsyncSession, due: sa.SelectBase, limit: int) -> list[int]:
    """Of the members with something due, up to `limit` whom nobody else is at: first people, then their accounts."""
    column = due.subquery().c[0]
    people = sa.select(Member.id).where(Member.id.in_(sa.select(column))).order_by(Member.id).limit(limit)
    free = list(await session.scalars(people.with_for_update(read=True, key_share=True, skip_locked=True)))
    accounts = sa.select(PointAccount.member_id).where(PointAccount.member_id.in_(free))
    return list(await session.scalars(accounts.order_by(PointAccount.member_id).with_for_update(skip_locked=True)))
