"""Consent: the newest word counts, saying it again adds nothing, and the history is the evidence."""

import asyncio

import sqlalchemy as sa

from crm import consents
from crm.base import events
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.models.consent import Consent
from tests.factories import Make


async def say(sessions: Sessions, clock: FrozenClock, member_id: int, *, granted: bool) -> bool:
    verb = consents.opt_in if granted else consents.opt_out
    async with sessions.begin() as session:
        return await verb(session, member_id, source="chat", wording_version="2026-03", now=clock.now())


async def test_the_newest_word_counts(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    member = await make.member()
    async with sessions.read() as session:
        assert await consents.current(session, member.id) is None, "who never spoke has no consent row"
    for granted in (False, True, False):
        clock.advance(days=1)
        assert await say(sessions, clock, member.id, granted=granted)
        async with sessions.read() as session:
            now = await consents.current(session, member.id)
            assert now is not None and (now.granted, now.said_at) == (granted, clock.now())
            assert await consents.current(session, member.id, topic="subscription") is None


async def test_opting_out_twice_is_once_even_at_the_same_moment(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    member = await make.member()
    said = await asyncio.gather(*(say(sessions, clock, member.id, granted=False) for _ in range(8)))
    assert sorted(said) == [False] * 7 + [True]
    async with sessions.begin() as session:
        assert await session.scalar(sa.select(sa.func.count(Consent.id))) == 1
        names = [each.name for each in await events.take(session, "test")]
    assert names == ["MemberEnrolled", "OptedOut"]


async def test_the_race_is_real_without_the_lock(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    """Look, then write: both look before either has written, and one word stands there twice."""
    member, looked = await make.member(), asyncio.Barrier(2)

    async def opt_out_unguarded() -> None:
        async with sessions.read() as session:
            before = await consents.current(session, member.id)
        await looked.wait()
        async with sessions.begin() as session:
            if before is None:
                said = Consent(member_id=member.id, topic="marketing", channel="any", granted=False)
                said.source, said.wording_version, said.said_at = "chat", "2026-03", clock.now()
                session.add(said)

    await asyncio.gather(opt_out_unguarded(), opt_out_unguarded())
    async with sessions.read() as session:
        assert await session.scalar(sa.select(sa.func.count(Consent.id))) == 2
