"""Coupons for a whole audience: everybody once, by the same rules as one at a time, whatever falls in between."""

import random
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from campaigns import coupon_batches, coupon_grants, coupons, offers
from campaigns.coupon_grants import GrantNameTaken, GrantNobody, GrantOver
from campaigns.coupon_terms import CouponIssued, OfferNotOpen, OfferSoldOut
from campaigns.models.coupon_grant import CouponGrant, GrantStatus
from campaigns.models.offer import Coupon, CouponStatus, Offer, OfferTaken
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.base.events import EventRow
from crm.models.member import Member
from tests.campaigns.conftest import Put
from tests.campaigns.fixtures import EVERYBODY
from tests.factories import Make


async def begin(
    sessions: Sessions, clock: FrozenClock, name: str = "双十一老客", offer: str = "满100减20", told: Any = EVERYBODY
) -> CouponGrant:
    async with sessions.begin() as session:
        return await coupon_grants.begin(session, name, offer, told, by="amy", now=clock.now())


async def step(sessions: Sessions, clock: FrozenClock) -> bool:
    async with sessions.begin() as session:
        return await coupon_grants.advance(session, now=clock.now())


async def give(sessions: Sessions, clock: FrozenClock, name: str = "双十一老客", **more: Any) -> CouponGrant:
    await begin(sessions, clock, name, **more)
    while await step(sessions, clock):
        pass
    return await stands(sessions, name)


async def stands(sessions: Sessions, name: str = "双十一老客") -> CouponGrant:
    async with sessions.read() as session:
        return await coupon_grants.get(session, name)


async def wallets(sessions: Sessions) -> list[Coupon]:
    async with sessions.read() as session:
        return list(await session.scalars(sa.select(Coupon).order_by(Coupon.id)))


async def sums_agree(sessions: Sessions) -> None:
    """An offer's counter, its coupons and what each took say the same."""
    async with sessions.read() as session:
        issued = await session.scalar(sa.select(sa.func.sum(Offer.issued)))
        taken = await session.scalar(sa.select(sa.func.sum(OfferTaken.taken))) or 0
        told = await session.scalar(sa.select(sa.func.count()).where(EventRow.name == CouponIssued.__name__))
    assert issued == taken == told == len(await wallets(sessions))


async def test_everybody_of_the_audience_has_one_that_is_like_any_other(
    sessions: Sessions, make: Make, clock: FrozenClock, put_offer: Put
) -> None:
    people = [await make.member() for _ in range(4)]
    await make.order(people[0])
    offer = await put_offer(valid_days=3)
    grant = await give(sessions, clock, told={"is": "lifetime", "orders": {"most": 0}})
    assert (grant.status, grant.selected, grant.issued) == (GrantStatus.FINISHED, 3, 3)
    given = await wallets(sessions)
    assert [one.member_id for one in given] == [one.id for one in people[1:]]
    async with sessions.begin() as session:
        alone = await coupons.issue(session, offer.id, people[0].id, because="1", now=clock.now())
    same = ("status", "issued_at", "expires_at", "discount_fen", "order_no", "held_until", "redeemed_at")
    assert {tuple(getattr(one, name) for name in same) for one in given} == {
        tuple(getattr(alone, name) for name in same)
    }
    assert len({one.code for one in (*given, alone)}) == 4
    await sums_agree(sessions)


async def test_told_again_it_is_the_same_and_told_otherwise_it_is_refused(
    sessions: Sessions, make: Make, clock: FrozenClock, put_offer: Put
) -> None:
    await make.member()
    await put_offer(per_member=None)
    first, again = await give(sessions, clock), await give(sessions, clock)
    assert first.id == again.id and len(await wallets(sessions)) == 1
    with pytest.raises(GrantNameTaken):
        await begin(sessions, clock, told={"is": "lifetime", "orders": {"most": 0}})
    assert (await give(sessions, clock, "再来一张")).issued == 1
    await sums_agree(sessions)


async def test_killed_in_the_middle_it_goes_on_and_nobody_has_two(
    sessions: Sessions, make: Make, clock: FrozenClock, put_offer: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coupon_grants, "WINDOW", 2)
    people = [await make.member() for _ in range(5)]
    await put_offer(per_member=None)
    await begin(sessions, clock)
    assert await step(sessions, clock)
    with pytest.raises(KeyboardInterrupt):
        async with sessions.begin() as session:
            assert await coupon_grants.advance(session, now=clock.now())
            raise KeyboardInterrupt
    assert len(await wallets(sessions)) == 2
    while await step(sessions, clock):
        pass
    assert [one.member_id for one in await wallets(sessions)] == [one.id for one in people]
    await sums_agree(sessions)


async def test_the_stock_goes_to_the_oldest_members_and_the_others_are_counted(
    sessions: Sessions, make: Make, clock: FrozenClock, put_offer: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coupon_grants, "WINDOW", 2)
    people = [await make.member() for _ in range(5)]
    offer = await put_offer(stock=3)
    grant = await give(sessions, clock)
    assert (grant.selected, grant.issued, grant.missed) == (5, 3, 2)
    assert [one.member_id for one in await wallets(sessions)] == [one.id for one in people[:3]]
    async with sessions.begin() as session:
        with pytest.raises(OfferSoldOut):
            await coupons.issue(session, offer.id, people[4].id, because="1", now=clock.now())


async def test_who_has_as_many_as_one_may_is_passed_over(
    sessions: Sessions, make: Make, clock: FrozenClock, put_offer: Put
) -> None:
    has, has_not = await make.member(), await make.member()
    offer = await put_offer()
    async with sessions.begin() as session:
        await coupons.issue(session, offer.id, has.id, because="chat", now=clock.now())
    grant = await give(sessions, clock)
    assert (grant.issued, grant.at_limit) == (1, 1)
    assert [one.member_id for one in await wallets(sessions)] == [has.id, has_not.id]


async def test_who_was_merged_or_erased_meanwhile_gets_none(
    sessions: Sessions, make: Make, clock: FrozenClock, put_offer: Put
) -> None:
    stays, joins, erased = [await make.member() for _ in range(3)]
    offer = await put_offer(per_member=None)
    async with sessions.begin() as session:
        await session.execute(sa.update(Member).where(Member.id == joins.id).values(merged_into_id=stays.id))
        await session.execute(sa.update(Member).where(Member.id == erased.id).values(erased_at=clock.now()))
    asked = [stays.id, joins.id, erased.id, 10**9]
    async with sessions.begin() as session:
        shared = await coupon_batches.issue(session, offer.id, asked, because="1", now=clock.now())
    assert (shared.got, shared.gone) == ([stays.id], [joins.id, erased.id, 10**9])


async def test_closed_meanwhile_it_stops_and_says_why(
    sessions: Sessions, make: Make, clock: FrozenClock, put_offer: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coupon_grants, "WINDOW", 1)
    [await make.member() for _ in range(2)]
    offer = await put_offer()
    await begin(sessions, clock)
    assert await step(sessions, clock)
    async with sessions.begin() as session:
        await offers.close(session, offer.key, now=clock.now())
    assert await step(sessions, clock) and not await step(sessions, clock)
    grant = await stands(sessions)
    assert (grant.status, grant.ended_because, grant.issued) == (GrantStatus.STOPPED, "offer.not_open", 1)
    with pytest.raises(OfferNotOpen):
        await begin(sessions, clock, "另一次")
    with pytest.raises(GrantOver):
        async with sessions.begin() as session:
            await coupon_grants.stop(session, "双十一老客", now=clock.now())


async def test_a_copy_of_yesterday_gives_nothing_before_somebody_says_so(
    sessions: Sessions, make: Make, clock: FrozenClock, put_offer: Put
) -> None:
    await make.member()
    await put_offer()
    await begin(sessions, clock)
    clock.advance(days=1)
    assert await step(sessions, clock) and not await step(sessions, clock)
    assert (await stands(sessions)).status is GrantStatus.ASKS and not await wallets(sessions)
    async with sessions.begin() as session:
        await coupon_grants.go_on(session, "双十一老客", now=clock.now())
    assert await step(sessions, clock)
    assert (await stands(sessions)).issued == 1


async def test_an_audience_of_nobody_is_refused_before_anything_is_given(
    sessions: Sessions, make: Make, clock: FrozenClock, put_offer: Put
) -> None:
    await make.member()
    await put_offer(stock=0)
    with pytest.raises(GrantNobody):
        await begin(sessions, clock, told={"is": "lifetime", "orders": {"least": 9}})
    async with sessions.read() as session:
        seen = await coupon_grants.outlook(session, "满100减20", EVERYBODY, now=clock.now())
    assert (seen.everybody, seen.selected, seen.left, seen.short_of) == (1, 1, 0, 1)


async def test_a_code_that_is_known_is_drawn_again(
    sessions: Sessions, make: Make, clock: FrozenClock, put_offer: Put
) -> None:
    first, second = await make.member(), await make.member()
    offer = await put_offer(per_member=None)
    for because in "12":
        async with sessions.begin() as session:
            await coupon_batches.issue(
                session, offer.id, [first.id, second.id], because=because, now=clock.now(), chance=random.Random(7)
            )
    assert len({one.code for one in await wallets(sessions)}) == 4


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_many_at_once_end_as_one_at_a_time_would(
    sessions: Sessions, make: Make, clock: FrozenClock, put_offer: Put, data: st.DataObject
) -> None:
    """Whatever the stock, the limit and what they have already: the same people get one, the others the same reason."""
    people = [(await make.member()).id for _ in range(data.draw(st.integers(1, 5)))]
    stock, limit = data.draw(st.none() | st.integers(0, 6)), data.draw(st.none() | st.integers(1, 2))
    before = data.draw(st.lists(st.sampled_from(people), max_size=4))
    names = [f"{people[0]}-{which}" for which in ("many", "one")]
    many, one = [await put_offer(name, stock=stock, per_member=limit) for name in names]
    for offer in (many, one):
        for number, member_id in enumerate(before):
            await alone(sessions, clock, offer, member_id, f"before {number}")
    async with sessions.begin() as session:
        shared = await coupon_batches.issue(session, many.id, people, because="all", now=clock.now())
    apart = [member_id for member_id in people if await alone(sessions, clock, one, member_id, "all")]
    assert shared.got == apart
    assert sorted((*shared.got, *shared.at_limit, *shared.missed)) == people


async def alone(sessions: Sessions, clock: FrozenClock, offer: Offer, member_id: int, because: str) -> bool:
    try:
        async with sessions.begin() as session:
            given = await coupons.issue(session, offer.id, member_id, because=because, now=clock.now())
    except Exception:
        return False
    return given.status is CouponStatus.ISSUED
