"""签到: once per member and shop-local day, with points that grow with days in a row."""

from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from crm import loyalty_rules, point_ledger, points
from crm.base import events
from crm.base.clock import SHANGHAI, local_day
from crm.base.db import insert
from crm.base.errors import Refused
from crm.models.loyalty import CheckIn
from crm.point_ledger import Cause
from crm.point_rules import CheckInRules, next_streak, of_check_in


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedIn:
    """A member checked in. Appended by check_in()."""

    member_id: int
    checked_on: date
    streak: int
    points: int


@dataclass(eq=False)
class NoCheckIn(Refused):
    """The shop has no check-in."""

    code = "check_in.none"


@dataclass(eq=False)
class CheckedInAlready(Refused):
    """Once a day is enough."""

    code = "check_in.already"
    checked_on: date
    streak: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A check-in with what it brought, and what the next reward is."""

    streak: int
    points: int  # less than the rules say, where the day's cap was reached
    reward_in: int | None  # so many more days in a row until the next reward; None: there is none
    reward: int


async def newest(session: AsyncSession, member_id: int) -> CheckIn | None:
    """A member's last check-in."""
    found: CheckIn | None = await session.scalar(
        sa.select(CheckIn).where(CheckIn.member_id == member_id).order_by(CheckIn.checked_on.desc()).limit(1)
    )
    return found


async def check_in(session: AsyncSession, member_id: int, *, now: datetime, zone: ZoneInfo = SHANGHAI) -> Done:
    """Check in for today. Raises NoCheckIn, CheckedInAlready.

    The unique key (member, day) is the guard: of any number at once one inserts.
    """
    rules = await loyalty_rules.of_points(session)
    if rules is None or rules.check_in is None:
        raise NoCheckIn
    member_id = await point_ledger.open_account(session, member_id, now=now, zone=zone)
    today, last = local_day(now, zone), await newest(session, member_id)
    if last is not None and last.checked_on >= today:
        raise CheckedInAlready(last.checked_on, last.streak)
    last_on, streak = (last.checked_on, last.streak) if last is not None else (None, 0)
    streak = next_streak(rules.check_in, last_on, streak, today)
    wanted = of_check_in(rules.check_in, streak)
    row = {"member_id": member_id, "checked_on": today, "streak": streak, "points": 0, "checked_at": now}
    made = insert(session, CheckIn).values(**row).on_conflict_do_nothing().returning(CheckIn.id)
    if (row_id := await session.scalar(made)) is None:
        raise CheckedInAlready(today, streak)
    got = 0
    if wanted:
        cause = Cause("check_in", str(row_id))
        entry = await points.earn(session, member_id, wanted, cause=cause, rules=rules, now=now, zone=zone)
        got = entry.points
    await session.execute(
        sa.update(CheckIn).where(CheckIn.id == row_id).values(points=got),
        execution_options={"synchronize_session": False},
    )
    told = CheckedIn(member_id=member_id, checked_on=today, streak=streak, points=got)
    await events.append(session, told, now=now)
    reward_in, reward = next_reward(rules.check_in, streak)
    return Done(streak=streak, points=got, reward_in=reward_in, reward=reward)


def next_reward(rules: CheckInRules, streak: int) -> tuple[int | None, int]:
    """In how many more days in a row the next reward comes, and how much it is; after a full cycle, the next one's."""
    done = 0 if streak == rules.cycle else streak
    ahead = [day for day in sorted(rules.rewards) if day > done and (rules.cycle is None or day <= rules.cycle)]
    return (ahead[0] - done, rules.rewards[ahead[0]]) if ahead else (None, 0)
