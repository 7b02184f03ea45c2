"""Coupons raced for: no more than the stock, spent once, within the budget; without the guards all three break."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
import sqlalchemy as sa

from campaigns import coupons, offers
from campaigns.coupon_terms import BudgetSpent, CouponInUse, LimitReached, OfferSoldOut, OrderRef
from campaigns.models.offer import Coupon, CouponStatus, Offer
from campaigns.offer_rules import Basket, Line
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.models.member import Member
from tests.factories import Make

AT_ONCE = 6
BASKET = Basket(lines=[Line(sku="F1", price_fen=12_000)])
Race = Callable[[int], Awaitable[object]]


async def race(run: Race) -> list[object]:
    return await asyncio.gather(*map(run, range(AT_ONCE)), return_exceptions=True)


async def put(sessions: Sessions, clock: FrozenClock, **more: object) -> Offer:
    terms = {"key": "o", "title": "o", "kind": "amount", "amount_fen": 2000, "starts_at": clock.now(), "valid_days": 9}
    async with sessions.begin() as session:
        return await offers.put(session, offers.Draft.model_validate({**terms, **more}), now=clock.now())


async def issue(sessions: Sessions, clock: FrozenClock, offer: Offer, member: Member, because: str) -> Coupon:
    async with sessions.begin() as session:
        return await coupons.issue(session, offer.id, member.id, because=because, now=clock.now())


async def hold(sessions: Sessions, clock: FrozenClock, coupon: Coupon, order: str) -> None:
    async with sessions.begin() as session:
        await coupons.use(
            session, coupon.member_id, [coupon.code], order=OrderRef("shop", order), basket=BASKET,
            until=clock.now() + timedelta(minutes=30), now=clock.now(),
        )  # fmt: skip


async def the_offer(sessions: Sessions) -> Offer:
    async with sessions.read() as session:
        return (await session.scalars(sa.select(Offer))).one()


async def test_six_members_race_for_two_coupons(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    offer, people = await put(sessions, clock, stock=2), [await make.member() for _ in range(AT_ONCE)]
    ended = await race(lambda number: issue(sessions, clock, offer, people[number], "1"))
    assert sorted(type(end).__name__ for end in ended) == ["Coupon"] * 2 + [OfferSoldOut.__name__] * 4
    assert (await the_offer(sessions)).issued == 2


async def test_one_member_races_for_more_than_their_share(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    offer, member = await put(sessions, clock, per_member=2), await make.member()
    ended = await race(lambda number: issue(sessions, clock, offer, member, str(number)))
    assert sorted(type(end).__name__ for end in ended) == ["Coupon"] * 2 + [LimitReached.__name__] * 4
    assert (await the_offer(sessions)).issued == 2


async def test_one_cause_told_six_times_at_once_is_one_coupon(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    offer, member = await put(sessions, clock, per_member=None), await make.member()
    ended = await race(lambda number: issue(sessions, clock, offer, member, "birthday"))
    assert len({end.code for end in ended if isinstance(end, Coupon)}) == 1 and len(ended) == AT_ONCE
    assert (await the_offer(sessions)).issued == 1


async def test_six_orders_race_for_one_coupon_and_one_wins(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    coupon = await issue(sessions, clock, await put(sessions, clock), await make.member(), "1")
    ended = await race(lambda number: hold(sessions, clock, coupon, f"A{number}"))
    assert sorted(type(end).__name__ for end in ended) == [CouponInUse.__name__] * 5 + ["NoneType"]
    assert (await the_offer(sessions)).committed_fen == 2000


async def test_six_members_race_for_the_last_of_the_budget(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    offer = await put(sessions, clock, budget_fen=4500)
    mine = [await issue(sessions, clock, offer, await make.member(), "1") for _ in range(AT_ONCE)]
    ended = await race(lambda number: hold(sessions, clock, mine[number], f"A{number}"))
    assert sorted(type(end).__name__ for end in ended) == [BudgetSpent.__name__] * 4 + ["NoneType"] * 2
    assert (await the_offer(sessions)).committed_fen == 4000


async def test_paid_and_timed_out_at_once_ends_one_way(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    coupon = await issue(sessions, clock, await put(sessions, clock), await make.member(), "1")
    await hold(sessions, clock, coupon, "A1")
    clock.advance(hours=1)

    async def end(number: int) -> None:
        async with sessions.begin() as session:
            if number % 2:
                await coupons.redeem_order(session, OrderRef("shop", "A1"), now=clock.now())
            else:
                await coupons.release_due(session, now=clock.now())

    await race(end)
    async with sessions.read() as session:
        status = (await session.get_one(Coupon, coupon.id)).status
    committed = (await the_offer(sessions)).committed_fen
    assert (status, committed) in {(CouponStatus.REDEEMED, 2000), (CouponStatus.ISSUED, 0)}


@pytest.mark.parametrize("what", ["stock", "spent", "budget"])
async def test_the_race_is_real_without_the_guard(
    sessions: Sessions, make: Make, clock: FrozenClock, what: str
) -> None:
    """Look, wait until the others have looked as well, then write down what seemed right."""
    offer = await put(sessions, clock)
    coupon = await issue(sessions, clock, offer, await make.member(), "1")
    looked, given = asyncio.Barrier(AT_ONCE), 0

    async def take(number: int) -> None:
        nonlocal given
        async with sessions.read() as session:
            seen_offer, seen = await session.get_one(Offer, offer.id), await session.get_one(Coupon, coupon.id)
            free = {
                "stock": seen_offer.issued < 2,
                "spent": seen.status is CouponStatus.ISSUED,
                "budget": seen_offer.committed_fen + 2000 <= 4500,
            }[what]
        await looked.wait()
        if not free:
            return
        async with sessions.begin() as session:
            values = {"issued": seen_offer.issued + 1, "committed_fen": seen_offer.committed_fen + 2000}
            await session.execute(sa.update(Offer).values(**values))
            order = {"status": CouponStatus.HELD, "order_source": "shop", "order_no": f"A{number}"}
            held = sa.update(Coupon).values(**order, held_until=clock.now())
            await session.execute(held)
        given += 1

    await race(take)
    assert given > {"stock": 1, "spent": 1, "budget": 2}[what]
