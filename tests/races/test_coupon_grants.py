"""A grant raced against another worker and against claims: stock and limits hold, nobody has two; without, they do."""

import asyncio
from collections import Counter
from typing import Any

import sqlalchemy as sa

from campaigns import coupon_grants
from campaigns.coupon_terms import LimitReached, OfferSoldOut
from campaigns.models.offer import Coupon, Offer, OfferTaken
from crm.base.clock import FrozenClock
from crm.base.db import Sessions, insert_rows
from tests.campaigns.fixtures import EVERYBODY
from tests.factories import Make
from tests.races.test_coupons import issue, put, the_offer

PEOPLE = 30
STOCK = 20


async def give(sessions: Sessions, clock: FrozenClock) -> None:
    goes_on = True
    while goes_on:
        async with sessions.begin() as session:
            goes_on = await coupon_grants.advance(session, now=clock.now())


async def each_has(sessions: Sessions) -> Counter[int]:
    async with sessions.read() as session:
        return Counter(await session.scalars(sa.select(Coupon.member_id)))


async def test_two_workers_share_a_grant_and_nobody_has_two(
    sessions: Sessions, make: Make, clock: FrozenClock, monkeypatch: Any
) -> None:
    monkeypatch.setattr(coupon_grants, "WINDOW", 5)
    [await make.member() for _ in range(PEOPLE)]
    await put(sessions, clock, per_member=None)
    async with sessions.begin() as session:
        await coupon_grants.begin(session, "礼", "o", EVERYBODY, by="amy", now=clock.now())
    await asyncio.gather(give(sessions, clock), give(sessions, clock))
    has = await each_has(sessions)
    assert (len(has), set(has.values())) == (PEOPLE, {1})
    async with sessions.read() as session:
        grant = await coupon_grants.get(session, "礼")
    assert (grant.selected, grant.issued) == (PEOPLE, PEOPLE)


async def test_two_grants_and_claims_by_chat_take_no_more_than_there_are(
    sessions: Sessions, make: Make, clock: FrozenClock, monkeypatch: Any
) -> None:
    """Everybody claims while both grants run: one person's limit and the stock hold."""
    monkeypatch.setattr(coupon_grants, "WINDOW", 7)
    people = [await make.member() for _ in range(PEOPLE)]
    offer = await put(sessions, clock, stock=STOCK)
    async with sessions.begin() as session:
        for name in ("一", "二"):
            await coupon_grants.begin(session, name, "o", EVERYBODY, by="amy", now=clock.now())
    claims = [issue(sessions, clock, offer, one, "chat") for one in people[::4]]
    ended = await asyncio.gather(give(sessions, clock), give(sessions, clock), *claims, return_exceptions=True)
    assert {type(one) for one in ended if isinstance(one, Exception)} <= {OfferSoldOut, LimitReached}
    has = await each_has(sessions)
    assert (sum(has.values()), max(has.values())) == (STOCK, 1)
    assert (await the_offer(sessions)).issued == STOCK
    async with sessions.read() as session:
        assert await session.scalar(sa.select(sa.func.sum(OfferTaken.taken))) == STOCK


async def test_the_race_is_real_without_the_guard(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    """Two look at what is left and at who has one, wait for each other, then write what seemed right."""
    people = [(await make.member()).id for _ in range(4)]
    offer, looked = await put(sessions, clock, stock=4), asyncio.Barrier(2)

    async def take(number: int) -> None:
        async with sessions.read() as session:
            seen = await session.get_one(Offer, offer.id)
            has = set(await session.scalars(sa.select(Coupon.member_id)))
        await looked.wait()
        free = [one for one in people if one not in has][: (seen.stock or 0) - seen.issued]
        rows = [(f"C{number}{one:06}"[:8], offer.id, one, one, f"grant:{number}", "issued", clock.now(), clock.now(), 0)
                for one in free]  # fmt: skip
        columns = ("code", "offer_id", "member_id", "issued_to_id", "because", "status", "issued_at", "expires_at",
                   "discount_fen")  # fmt: skip
        async with sessions.begin() as session:
            await session.execute(sa.update(Offer).values(issued=seen.issued + len(free)))
            await insert_rows(session, Coupon.__table__, columns, rows)

    await asyncio.gather(take(1), take(2))
    assert set((await each_has(sessions)).values()) == {2}
    assert (await the_offer(sessions)).issued == 4 < sum((await each_has(sessions)).values())
