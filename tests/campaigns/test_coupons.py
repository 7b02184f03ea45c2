"""Coupons from the wallet to the order and back, what is refused, and what time and merges do to them."""

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import ValidationError

from campaigns import coupon_days, coupons, offers
from campaigns.coupon_terms import (
    BudgetSpent,
    CouponExpired,
    CouponInUse,
    CouponNotFound,
    CouponSpent,
    CouponUnfit,
    LimitReached,
    OfferNotOpen,
    OfferSoldOut,
    OrderRef,
)
from campaigns.models.offer import Coupon, CouponStatus, Offer
from campaigns.offer_rules import Basket, Line, Quote
from campaigns.offers import OfferFixed
from crm import merges
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.base.events import EventRow
from crm.models.member import Member
from tests.campaigns.conftest import Put
from tests.factories import Make

BASKET = Basket(lines=[Line(sku="F1", category="猫粮", price_fen=12_000)], shipping_fen=800)
ORDER, OTHER = OrderRef("shop", "A1"), OrderRef("shop", "A2")


@pytest.fixture
async def member(make: Make) -> Member:
    return await make.member()


async def issue(sessions: Sessions, clock: FrozenClock, offer: Offer, member: Member, because: str = "1") -> Coupon:
    async with sessions.begin() as session:
        return await coupons.issue(session, offer.id, member.id, because=because, now=clock.now())


async def use(
    sessions: Sessions,
    clock: FrozenClock,
    coupon: Coupon,
    *,
    order: OrderRef = ORDER,
    basket: Basket = BASKET,
    member_id: int | None = None,
    hold: bool = True,
) -> Quote:
    until = clock.now() + timedelta(minutes=30) if hold else None
    async with sessions.begin() as session:
        whose, now = member_id or coupon.member_id, clock.now()
        return await coupons.use(session, whose, [coupon.code], order=order, basket=basket, until=until, now=now)


async def now_of(sessions: Sessions, coupon: Coupon) -> tuple[CouponStatus, int]:
    """The coupon's status, and what its offer has committed."""
    async with sessions.read() as session:
        fresh = await session.get_one(Coupon, coupon.id)
        return fresh.status, (await session.get_one(Offer, coupon.offer_id)).committed_fen


async def run(sessions: Sessions, clock: FrozenClock, verb: Any, *arguments: Any) -> Any:
    async with sessions.begin() as session:
        return await verb(session, *arguments, now=clock.now())


async def test_from_the_wallet_to_the_order_and_spent(
    sessions: Sessions, clock: FrozenClock, put_offer: Put, member: Member
) -> None:
    coupon = await issue(sessions, clock, await put_offer(), member)
    assert (await issue(sessions, clock, await put_offer(), member)).code == coupon.code  # the same cause
    assert len(coupon.code) == 8 and not set(coupon.code) & set("01IO")
    for _ in range(2):  # told twice is told once
        assert (await use(sessions, clock, coupon)).to_pay_fen == 10_800
        assert await now_of(sessions, coupon) == (CouponStatus.HELD, 2000)
    with pytest.raises(CouponInUse):
        await use(sessions, clock, coupon, order=OTHER)
    assert len(await run(sessions, clock, coupons.redeem_order, ORDER)) == 1
    assert await run(sessions, clock, coupons.redeem_order, ORDER) == []
    assert await now_of(sessions, coupon) == (CouponStatus.REDEEMED, 2000)
    assert (await use(sessions, clock, coupon)).to_pay_fen == 10_800
    with pytest.raises(CouponSpent):
        await use(sessions, clock, coupon, order=OTHER)
    assert await run(sessions, clock, coupons.return_order, ORDER) == 1
    assert await now_of(sessions, coupon) == (CouponStatus.ISSUED, 0)
    assert (await use(sessions, clock, coupon, order=OTHER, hold=False)).discount_fen == 2000
    assert await now_of(sessions, coupon) == (CouponStatus.REDEEMED, 2000)


async def test_an_order_that_is_not_paid_gives_it_back(
    sessions: Sessions, clock: FrozenClock, put_offer: Put, member: Member
) -> None:
    coupon = await issue(sessions, clock, await put_offer(), member)
    await use(sessions, clock, coupon)
    assert await run(sessions, clock, coupons.release_order, ORDER) == 1
    assert await now_of(sessions, coupon) == (CouponStatus.ISSUED, 0)
    await use(sessions, clock, coupon, order=OTHER)
    assert await run(sessions, clock, coupons.release_due) == 0
    clock.advance(minutes=30)
    assert await run(sessions, clock, coupons.release_due) == 1
    await use(sessions, clock, coupon)
    clock.advance(days=10)  # it ended while the order held it
    assert await run(sessions, clock, coupons.release_due) == 1
    assert await now_of(sessions, coupon) == (CouponStatus.EXPIRED, 0)


async def test_a_coupon_is_dead_at_its_expiry_instant(
    sessions: Sessions, clock: FrozenClock, put_offer: Put, member: Member
) -> None:
    coupon = await issue(sessions, clock, await put_offer(valid_days=1), member)
    clock.advance(coupon.expires_at - clock.now() - timedelta(seconds=1))
    assert (await use(sessions, clock, coupon)).discount_fen == 2000
    await run(sessions, clock, coupons.release_order, ORDER)
    clock.advance(seconds=1)
    with pytest.raises(CouponExpired) as refused:
        await use(sessions, clock, coupon)
    assert refused.value.expired_at == clock.now()
    assert [await run(sessions, clock, coupon_days.expire_due) for _ in range(2)] == [1, 0]
    assert await now_of(sessions, coupon) == (CouponStatus.EXPIRED, 0)


async def test_what_an_offer_refuses(sessions: Sessions, clock: FrozenClock, put_offer: Put, make: Make) -> None:
    one, other = await make.member(), await make.member()
    scarce = await put_offer("scarce", stock=1)
    await issue(sessions, clock, scarce, one)
    with pytest.raises(LimitReached):
        await issue(sessions, clock, await put_offer("many"), one, await spent(sessions, clock, put_offer, one))
    with pytest.raises(OfferSoldOut):
        await issue(sessions, clock, scarce, other)
    later = await put_offer("later", starts_at=clock.now() + timedelta(days=1))
    with pytest.raises(OfferNotOpen):
        await issue(sessions, clock, later, one)
    async with sessions.begin() as session:
        await offers.close(session, "many", now=clock.now())
    with pytest.raises(OfferNotOpen):
        await issue(sessions, clock, await offer_of(sessions, "many"), other)
    assert (await offer_of(sessions, "scarce")).issued == 1


async def spent(sessions: Sessions, clock: FrozenClock, put_offer: Put, member: Member) -> str:
    """The one coupon of `many` that this member may have is taken; returns another cause."""
    await issue(sessions, clock, await put_offer("many"), member, "first")
    return "second"


async def offer_of(sessions: Sessions, key: str) -> Offer:
    async with sessions.read() as session:
        return await offers.get(session, key)


async def test_a_budget_is_never_exceeded_and_what_comes_back_can_be_given_again(
    sessions: Sessions, clock: FrozenClock, put_offer: Put, make: Make
) -> None:
    offer = await put_offer(budget_fen=3000)
    mine, theirs = [await issue(sessions, clock, offer, await make.member()) for _ in range(2)]
    await use(sessions, clock, mine)
    with pytest.raises(BudgetSpent):
        await use(sessions, clock, theirs, order=OTHER)
    assert await now_of(sessions, theirs) == (CouponStatus.ISSUED, 2000)
    await run(sessions, clock, coupons.release_order, ORDER)
    await use(sessions, clock, theirs, order=OTHER)
    assert await now_of(sessions, theirs) == (CouponStatus.HELD, 2000)


async def test_what_does_not_fit_or_belongs_to_somebody_else_is_refused_whole(
    sessions: Sessions, clock: FrozenClock, put_offer: Put, make: Make
) -> None:
    member, stranger = await make.member(), await make.member()
    coupon = await issue(sessions, clock, await put_offer(stacks=True), member)
    shipping = await issue(sessions, clock, await put_offer("免邮", kind="shipping", stacks=True), member)
    small = Basket(lines=[Line(sku="F1", price_fen=9000)], shipping_fen=800)
    with pytest.raises(CouponUnfit) as unfit:
        async with sessions.begin() as session:
            await coupons.use(
                session, member.id, [shipping.code, coupon.code], order=ORDER, basket=small, until=None, now=clock.now()
            )
    assert (unfit.value.reason, unfit.value.missing_fen) == ("threshold", 1000)
    assert await now_of(sessions, shipping) == (CouponStatus.ISSUED, 0)
    with pytest.raises(CouponNotFound):
        await use(sessions, clock, coupon, member_id=stranger.id)
    async with sessions.read() as session:
        best = await coupons.quote(session, member.id, [], BASKET, now=clock.now())
        nothing = await coupons.quote(session, stranger.id, [], BASKET, now=clock.now())
    assert ([one.code for one in best.saved], best.to_pay_fen) == ([coupon.code, shipping.code], 10_000)
    assert nothing.to_pay_fen == 12_800


async def test_a_changed_basket_changes_what_the_order_holds(
    sessions: Sessions, clock: FrozenClock, put_offer: Put, member: Member
) -> None:
    offer = await put_offer(kind="percent", percent_bp=1000, threshold_fen=0, budget_fen=1500)
    coupon = await issue(sessions, clock, offer, member)
    await use(sessions, clock, coupon)
    assert await now_of(sessions, coupon) == (CouponStatus.HELD, 1200)
    with pytest.raises(BudgetSpent):
        await use(sessions, clock, coupon, basket=Basket(lines=[Line(sku="F1", price_fen=16_000)]))
    await use(sessions, clock, coupon, basket=Basket(lines=[Line(sku="F1", price_fen=5000)]))
    assert await now_of(sessions, coupon) == (CouponStatus.HELD, 500)


async def test_terms_of_an_issued_offer_stay_and_limits_do_not_go_below_what_was_given(
    sessions: Sessions, clock: FrozenClock, put_offer: Put, make: Make
) -> None:
    offer = await put_offer(stock=5)
    assert (await put_offer(stock=5, amount_fen=3000)).amount_fen == 3000
    for _ in range(2):
        await issue(sessions, clock, offer, await make.member())
    assert (await put_offer(stock=2, amount_fen=3000)).stock == 2
    with pytest.raises(OfferFixed) as refused:
        await put_offer(stock=1, amount_fen=1000)
    assert refused.value.fields == ("amount_fen", "stock")


@pytest.mark.parametrize(
    "wrong",
    [
        {"amount_fen": 0},
        {"amount_fen": 20_000},
        {"budget_fen": -1},
        {"ends_at": None},
        {"kind": "percent"},
        {"kind": "percent", "percent_bp": 10_001},
        {"kind": "gift"},
        {"per_member": 0},
        {"key": "有 空格"},
        {"typo": 1},
    ],
)
async def test_an_offer_that_cannot_be_meant_is_refused(put_offer: Put, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        await put_offer(**wrong)


async def test_a_reminder_is_told_once_and_not_to_who_just_got_it(
    sessions: Sessions, clock: FrozenClock, put_offer: Put, make: Make
) -> None:
    offer = await put_offer()
    early = await issue(sessions, clock, offer, await make.member())
    clock.advance(days=8)
    await issue(sessions, clock, offer, await make.member())
    assert [await run(sessions, clock, coupon_days.warn) for _ in range(2)] == [1, 0]
    async with sessions.read() as session:
        told = (await session.scalars(sa.select(EventRow).where(EventRow.name == "CouponExpiring"))).one()
    assert (told.member_id, told.body["coupon_id"]) == (early.member_id, early.id)


async def test_a_wallet_follows_a_merge_and_its_undoing(
    sessions: Sessions, clock: FrozenClock, put_offer: Put, make: Make
) -> None:
    one, other = await make.member(), await make.member()
    offer = await put_offer(per_member=2)
    for member in (one, other):
        await issue(sessions, clock, offer, member)
    async with sessions.begin() as session:
        kept = await merges.merge(session, one.id, other.id, because="manual", now=clock.now())
        await coupon_days.follow_people(session, one.id, other.id)
    absorbed = other.id if kept == one.id else one.id
    person = Member(id=kept)
    with pytest.raises(LimitReached):
        await issue(sessions, clock, offer, person, "third")
    async with sessions.read() as session:
        assert len(await coupons.wallet_of(session, kept, now=clock.now())) == 2
    async with sessions.begin() as session:
        await merges.undo(session, absorbed, now=clock.now())
        await coupon_days.follow_people(session, one.id, other.id)
    async with sessions.read() as session:
        assert [len(await coupons.wallet_of(session, who, now=clock.now())) for who in (kept, absorbed)] == [1, 1]
    await issue(sessions, clock, offer, person, "third")


async def test_what_is_taken_back_can_be_given_to_somebody_else(
    sessions: Sessions, clock: FrozenClock, put_offer: Put, make: Make
) -> None:
    one, other = await make.member(), await make.member()
    offer = await put_offer(stock=1)
    coupon = await issue(sessions, clock, offer, one)
    async with sessions.begin() as session:
        assert [await coupons.cancel(session, coupon.id) for _ in range(2)] == [True, False]
    with pytest.raises(CouponNotFound):
        await use(sessions, clock, coupon)
    await issue(sessions, clock, offer, other)
