"""Campaigns that plan for one member at the same time share one cap; without the lock each takes it for free."""

import asyncio
from datetime import timedelta

import sqlalchemy as sa

from campaigns import guards
from campaigns.guard_rules import Channel, FrequencyCap, Gate
from campaigns.models.gate import PassState, Touch
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from tests.factories import Make

AT_ONCE = 6
GATE = Gate(quiet=None, caps=(FrequencyCap(2, timedelta(days=1)),))


async def touches(sessions: Sessions) -> int:
    async with sessions.read() as session:
        return await session.scalar(sa.select(sa.func.count()).select_from(Touch)) or 0


async def test_six_campaigns_race_for_two_touches_of_one_member(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    member, other = await make.member(), await make.member()

    async def plan(number: int) -> bool:
        async with sessions.begin() as session:
            wanted = dict.fromkeys((member.id, other.id), f"c{number}")
            decided = await guards.admit(session, GATE, wanted, channel=Channel.KF, now=clock.now())
            return decided[member.id].is_allowed

    assert sum(await asyncio.gather(*map(plan, range(AT_ONCE)))) == 2
    assert await touches(sessions) == 4


async def test_the_race_is_real_without_the_guard(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    """Ask, wait until the others have asked as well, then write."""
    member, asked = await make.member(), asyncio.Barrier(AT_ONCE)

    async def plan(number: int) -> None:
        async with sessions.read() as session:
            decided = await guards.judge(session, GATE, [member.id], channel=Channel.KF, now=clock.now())
        await asked.wait()
        if decided[member.id].is_allowed:
            async with sessions.begin() as session:
                row = Touch(member_id=member.id, ref=f"c{number}", channel="kf", topic="marketing")
                row.state, row.at = PassState.PENDING, clock.now()
                session.add(row)

    await asyncio.gather(*map(plan, range(AT_ONCE)))
    assert await touches(sessions) == AT_ONCE
