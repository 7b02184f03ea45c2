"""A new day, in the service's own loop: stages, birthdays and one scoring, however many workers look."""

import asyncio
import random

import sqlalchemy as sa

from bot.nightly import Nightly
from crm import member_dates
from crm.base import events
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.base.peers import Peers
from crm.models.lifecycle import DateKind, Stage, StageMove
from crm.models.rfm import RfmSnapshot
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
