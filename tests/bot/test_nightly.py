"""A new day, in the service's own loop: stages, birthdays and one scoring, however many workers look."""

import asyncio
import random

import sqlalchemy as sa

from bot.nightly import Nightly
from crm import level_programme, levels, loyalty_rules, member_dates, point_orders
from crm.base import events
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.base.peers import Peers
from crm.level_programme import LevelTold, ProgrammeTold
from crm.models.lifecycle import DateKind, Stage, StageMove
from crm.models.loyalty import PointAccount
from crm.models.rfm import RfmSnapshot
from crm.point_rules import PointRules
from crm.rfm_rules import Rule
from tests.factories import Make, make

__all__ = ["make"]


def nightly(sessions: Sessions, clock: FrozenClock) -> Nightly:
    peers = Peers(sessions, chance=random.Random(7))
    return Nightly(sessions, peers, clock, rule=Rule(), night_hour=3)


async def snapshots(sessions: Sessions) -> list[RfmSnapshot]:
    async with sessions.read() as session:
        return list(await session.scalars(sa.select(RfmSnapshot).order_by(RfmSnapshot.taken_on)))


async def test_several_workers_score_a_day_once(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    await make.order(await make.member(), days_ago=2)
    await asyncio.gather(*(nightly(sessions, clock).round() for _ in range(3)))
    [taken] = await snapshots(sessions)
    assert (taken.members, taken.moved) == (1, 1)
    clock.advance(hours=13)  # 23:00
    await nightly(sessions, clock).round()
    clock.advance(hours=3)  # 02:00 of the next day: too early
    await nightly(sessions, clock).round()
    assert len(await snapshots(sessions)) == 1
    clock.advance(hours=1)
    await nightly(sessions, clock).round()
    assert [(one.members, one.moved) for one in await snapshots(sessions)] == [(1, 1), (1, 0)]


async def test_a_round_moves_the_silent_and_tells_of_birthdays(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    member, other = await make.member(), await make.member()
    await make.order(member, days_ago=60)
    async with sessions.begin() as session:
        await member_dates.remember(session, other.id, DateKind.CHILD_BIRTHDAY, month=3, day=10, now=clock.now())
    clock.advance(days=1)
    await nightly(sessions, clock).round()
    await nightly(sessions, clock).round()
    async with sessions.begin() as session:
        moves = {(one.member_id, one.to_stage) for one in await session.scalars(sa.select(StageMove))}
        told = [one.name for one in await events.take(session, "test")]
    assert moves == {(member.id, Stage.ACTIVE), (member.id, Stage.AT_RISK), (other.id, Stage.LEAD)}
    assert told.count("MemberDateCame") == 1


async def test_a_round_settles_points_and_levels(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    told = ProgrammeTold(levels=[LevelTold(name="普通", threshold_fen=0), LevelTold(name="银卡", threshold_fen=5000)])
    async with sessions.begin() as session:
        await loyalty_rules.set_points(session, PointRules(lasts_days=40), now=clock.now())
        await level_programme.define(session, told, now=clock.now())
    member = await make.member()
    order = await make.order(member, total_fen=8800)
    async with sessions.begin() as session:
        await point_orders.follow(session, order.id, now=clock.now())
    seen = []
    for days in (15, 1, 24, 400):
        clock.advance(days=days)
        await nightly(sessions, clock).round()
        async with sessions.begin() as session:
            account = await session.get_one(PointAccount, member.id, populate_existing=True)
            news = {one.name for one in await events.take(session, "test", limit=500)}
            level = await levels.name_of(session, member.id)
            seen.append((account.active, "PointsExpiring" in news, "LevelGraceBegan" in news, level))
    assert seen == [
        (88, True, False, "银卡"),
        (88, False, False, "银卡"),
        (0, False, False, "银卡"),
        (0, False, False, "普通"),
    ]
