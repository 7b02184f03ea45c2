"""New faces at a sale: a burst of them is flagged with its evidence, and a person admits or refuses them."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from bot.flashsale import newcomers, waiting
from bot.flashsale.newcomers import Ask, Face, Newcomers, Rule, bursts
from bot.flashsale.terms import TurnedAway, UnderReview
from bot.models.newcomer import Newcomer, Standing
from bot.models.sale import ClaimStatus, Sale
from crm.base.db import insert_all, open_sessions
from crm.base.errors import ShopError
from tests.bot.flashsale.stall import Stall, item

RULE = Rule(same_address=3, together=6)
LONG_AGO = timedelta(days=30)


@pytest.fixture
async def door(stall: Stall) -> AsyncIterator[Newcomers]:
    opened = Newcomers(stall.sessions, stall.clock, RULE, key=b"for tests only")
    await opened.start()
    yield opened
    await opened.stop()


async def asks(
    door: Newcomers, sale: Sale, member_id: int, joined_at: datetime, address: str | None = None
) -> type[ShopError] | None:
    try:
        await door.check(sale, member_id, joined_at, address=address)
    except ShopError as refusal:
        return type(refusal)
    return None


async def standings(stall: Stall) -> dict[int, tuple[Standing, dict[str, object]]]:
    async with stall.sessions.read() as session:
        rows = await session.scalars(sa.select(Newcomer).order_by(Newcomer.id))
        return {one.member_id: (one.standing, one.evidence) for one in rows}


async def test_some_new_faces_of_one_address_are_flagged_also_those_who_came_before(
    stall: Stall, door: Newcomers
) -> None:
    people, sale, now = await stall.members(5), await stall.sale(), stall.clock.now()
    told = [await asks(door, sale, one, now, "1.2.3.4") for one in people[:3]]
    assert told == [None, None, UnderReview]
    assert await asks(door, sale, people[0], now, "9.9.9.9") is UnderReview  # another address does not help
    assert await asks(door, sale, people[3], now, "5.6.7.8") is None
    assert await asks(door, sale, people[4], now) is None  # by chat: no address
    async with stall.sessions.read() as session:
        flagged = await newcomers.flagged(session, sale.id)
        assert [(found.id, count) for found, count in await newcomers.waiting_counts(session)] == [(sale.id, 3)]
    assert {one.member_id for one in flagged} == set(people[:3])
    assert flagged[0].evidence == {"rule": "address", "count": 3, "minutes": 10}
    assert len({one.address for one in flagged}) == 1 and "1.2.3.4" not in flagged[0].address


async def test_many_at_once_are_a_burst_from_wherever_and_time_makes_it_none(stall: Stall, door: Newcomers) -> None:
    people, sale, now = await stall.members(9), await stall.sale(), stall.clock.now()
    for one in people[:5]:
        assert await asks(door, sale, one, now) is None
    stall.clock.advance(minutes=10)
    assert await asks(door, sale, people[5], now) is None
    for one in people[6:]:
        await asks(door, sale, one, now)
    assert {standing for standing, _ in (await standings(stall)).values()} == {Standing.CLEAR}
    again = await stall.members(2)
    assert [await asks(door, sale, one, now) for one in again] == [None, UnderReview]
    evidence = [why for standing, why in (await standings(stall)).values() if standing is Standing.WAITING]
    assert evidence == [{"rule": "together", "count": 6, "minutes": 10}] * 6


async def test_who_is_here_for_long_or_has_bought_before_is_nobody_new(stall: Stall, door: Newcomers) -> None:
    people, a1 = await stall.members(4), await stall.item(stock=9, limit_each=9)
    for one in people:
        await stall.pay((await stall.claim(a1, one)).no, 1990)
    sale, now = await stall.sale(), stall.clock.now()
    assert [await asks(door, sale, one, now, "1.2.3.4") for one in people] == [None] * 4
    fresh = await stall.members(4)
    assert [await asks(door, sale, one, now - LONG_AGO, "1.2.3.4") for one in fresh] == [None] * 4
    assert await standings(stall) == {}
    off = Newcomers(stall.sessions, stall.clock, None, key=b"for tests only")  # never started, and never asks
    assert [await asks(off, sale, one, now, "1.2.3.4") for one in fresh] == [None] * 4


async def test_a_person_admits_some_and_refuses_the_rest(stall: Stall, door: Newcomers) -> None:
    people, now = await stall.members(4), stall.clock.now()
    sale = await stall.sale(item("A1", stock=1), item("A2", stock=1))
    a1, a2 = await stall.items(sale)
    other = (await stall.members(1))[0]
    await asks(door, sale, people[0], now, "1.2.3.4")
    await stall.claim(a1, people[0])  # before it was a burst
    async with stall.sessions.begin() as session:
        await waiting.join(session, stall.request(a1, other), now=now)
    for one in people[1:]:
        await asks(door, sale, one, now, "1.2.3.4")
    async with stall.sessions.begin() as session:
        assert await newcomers.is_held_back(session, people[0], a1.id)
        assert await newcomers.admit(session, sale.id, by="zhou", now=now, only=people[1:2]) == people[1:2]
        assert await newcomers.admit(session, sale.id, by="zhou", now=now, only=people[1:2]) == []
    async with stall.sessions.begin() as session:
        refused, offers = await newcomers.refuse(session, sale.id, by="zhou", now=now)
    assert (refused, [one.member_id for one in offers]) == ([people[0], *people[2:]], [other])
    assert await stall.statuses(people[0]) == [ClaimStatus.RELEASED]
    told = [await asks(door, sale, one, now, "1.2.3.4") for one in people]
    assert told == [TurnedAway, None, TurnedAway, TurnedAway]
    assert await stall.counters(a1) == (1, 0, 0)
    async with stall.sessions.begin() as session:
        assert not await newcomers.is_held_back(session, people[0], a2.id)


@given(st.lists(st.sampled_from(["", "a", "b", "c"]), max_size=12))
def test_whoever_is_flagged_is_one_of_enough_and_nobody_of_them_is_left_out(addresses: list[str]) -> None:
    faces = [Face(number, address) for number, address in enumerate(addresses)]
    found = bursts(faces, RULE)
    for one in faces:
        crowd = addresses.count(one.address) if one.address else 0
        assert (one.member_id in found) is (crowd >= 3 or len(faces) >= 6)
        if one.member_id in found and crowd >= 3:
            assert found[one.member_id] == {"rule": "address", "count": crowd, "minutes": 10}


# Arriving in the same moment


async def test_a_burst_of_one_moment_is_counted_whole_in_two_processes(stall: Stall, database_url: str) -> None:
    people, sale, now = await stall.members(8), await stall.sale(), stall.clock.now()
    elsewhere = open_sessions(database_url) if stall.sessions.dialect == "postgresql" else stall.sessions
    doors = [Newcomers(where, stall.clock, RULE, key=b"for tests only") for where in (stall.sessions, elsewhere)]
    for one in doors:
        await one.start()
    await asyncio.gather(*(asks(doors[number % 2], sale, one, now, "1.2.3.4") for number, one in enumerate(people)))
    for one in doors:
        await one.stop()
    if elsewhere is not stall.sessions:
        await elsewhere.close()
    assert {standing for standing, _ in (await standings(stall)).values()} == {Standing.WAITING}


async def test_without_the_lock_a_burst_of_one_moment_goes_by(stall: Stall) -> None:
    """Everybody looks who is there, then writes themselves down: each saw too few."""
    people, sale, now = await stall.members(4), await stall.sale(), stall.clock.now()
    looked = asyncio.Barrier(len(people))

    async def come(member_id: int) -> int:
        async with stall.sessions.read() as session:
            rows = (await session.execute(sa.select(Newcomer.member_id, Newcomer.address))).all()
        await looked.wait()
        row = {"sale_id": sale.id, "member_id": member_id, "address": "a", "asked_at": now,
               "standing": Standing.CLEAR, "evidence": {}, "decided_by": ""}  # fmt: skip
        async with stall.sessions.begin() as session:
            await insert_all(session, Newcomer.__table__, [row])
        return len(bursts([*(Face(*each) for each in rows), Face(member_id, "a")], RULE))

    assert await asyncio.gather(*(come(one) for one in people)) == [0] * 4
    async with stall.sessions.connect() as connection:  # the guarded look afterwards finds them all
        assert await newcomers.take(connection, [Ask(sale.id, people[0], "a")], RULE, now=now) == [Standing.WAITING]
