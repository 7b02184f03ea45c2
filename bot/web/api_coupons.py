"""API calls about offers and coupons: write an offer down, issue a coupon, price a basket, hold, redeem, release."""

from datetime import datetime, timedelta
from typing import Annotated

from pydantic import BaseModel, Field
from sqlalchemy.ext.asyncio import AsyncSession

from bot.web.api import Call
from bot.web.api_orders import Body, Fen, MemberUnknown, Name, NobodyNamed, WhoIn
from campaigns import coupons, ladders, offers
from campaigns.coupon_terms import OrderRef
from campaigns.ladders import LadderDraft
from campaigns.models.offer import Coupon, CouponStatus, Offer, OfferKind
from campaigns.offer_rules import Basket, Line, Quote
from campaigns.offers import Draft
from crm import identities

Code = Annotated[str, Field(max_length=20)]
Source = Annotated[str, Field(min_length=1, max_length=40)]
HOLD = timedelta(minutes=30)


class OfferOut(BaseModel):
    """An offer with what was given of it."""

    key: str
    title: str
    kind: OfferKind
    starts_at: datetime
    ends_at: datetime | None
    stock: int | None
    issued: int
    budget_fen: int | None
    committed_fen: int
    is_closed: bool


class OfferKeyIn(Body):
    key: Annotated[str, Field(min_length=1, max_length=40)]


class CouponOut(BaseModel):
    """A coupon as the shop's other systems see it. discount_fen: on the order that holds or spent it."""

    code: str
    offer: str
    title: str
    status: CouponStatus
    issued_at: datetime
    expires_at: datetime
    order_no: str | None = None
    discount_fen: int = 0
    held_until: datetime | None = None


class CouponsOut(BaseModel):
    coupons: list[CouponOut]


class RungOut(BaseModel):
    """One tier as a member stands to it. against: what keeps them out, and how it is."""

    tier: str
    words: str
    fits: bool
    against: list[str]


class LadderOut(BaseModel):
    key: str
    title: str
    tiers: list[str]


class StandingIn(WhoIn):
    """A tiered offer, and the member who is asked about."""

    key: Annotated[str, Field(min_length=1, max_length=40)]
    source: Source = "api"


class StandingOut(BaseModel):
    rungs: list[RungOut]


class GiveIn(Body):
    """The best tier of a tiered offer for a member, once for each cause."""

    key: Annotated[str, Field(min_length=1, max_length=40)]
    source: Source = "api"
    member: WhoIn
    because: Annotated[str, Field(min_length=1, max_length=40)]


class GivenOut(BaseModel):
    """What they got, and why that tier. passed_over: better ones that fit too and had nothing left."""

    tier: str
    reason: str
    coupon: CouponOut | None
    points: int
    passed_over: list[str]


class IssueIn(Body):
    """One coupon of an offer for a member. because: what for; the same cause gives the same coupon."""

    offer: Annotated[str, Field(min_length=1, max_length=40)]
    source: Source = "api"
    member: WhoIn
    because: Annotated[str, Field(min_length=1, max_length=60)]


class BasketLineIn(Body):
    sku: Name
    category: Annotated[str, Field(max_length=64)] = ""
    quantity: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    price_fen: Fen


class QuoteIn(Body):
    """What a basket costs. Without codes: with the best that the member has. order_no: whose own coupons count too."""

    source: Source = "api"
    member: WhoIn
    codes: Annotated[list[Code], Field(max_length=20)] = Field(default_factory=list)
    lines: Annotated[list[BasketLineIn], Field(min_length=1, max_length=500)]
    shipping_fen: Fen = 0
    order_no: Name | None = None


class UseIn(QuoteIn):
    """Put these coupons on an order: all of them, or none."""

    codes: Annotated[list[Code], Field(min_length=1, max_length=20)]
    order_no: Name


class HoldIn(UseIn):
    """Hold them until the order is paid, at most so many minutes."""

    minutes: Annotated[int, Field(ge=1, le=60 * 24 * 7)] = int(HOLD.total_seconds()) // 60


class SavedOut(BaseModel):
    code: str
    kind: OfferKind
    goods_fen: int
    shipping_fen: int
    gift_sku: str


class UnfitOut(BaseModel):
    """A coupon that does nothing here. reason: scope, threshold, nothing_left, not_together."""

    code: str
    reason: str
    missing_fen: int


class QuoteOut(BaseModel):
    goods_fen: int
    shipping_fen: int
    discount_fen: int
    to_pay_fen: int
    saved: list[SavedOut]
    unfit: list[UnfitOut]


class ReleaseIn(Body):
    source: Source = "api"
    order_no: Name


class ReleasedOut(BaseModel):
    released: int


class WalletIn(WhoIn):
    """The coupons that a member can use; or, by order_no, those an order holds or spent."""

    source: Source = "api"
    order_no: Name | None = None


async def put_offer(session: AsyncSession, body: Draft, *, now: datetime) -> OfferOut:
    return _offer(await offers.put(session, body, now=now))


async def close_offer(session: AsyncSession, body: OfferKeyIn, *, now: datetime) -> OfferOut:
    return _offer(await offers.close(session, body.key, now=now))


async def get_offer(session: AsyncSession, body: OfferKeyIn, *, now: datetime) -> OfferOut:
    del now
    return _offer(await offers.get(session, body.key))


async def issue(session: AsyncSession, body: IssueIn, *, now: datetime) -> CouponOut:
    offer = await offers.get(session, body.offer)
    member_id = await known_member(session, body.member, body.source)
    coupon = await coupons.issue(session, offer.id, member_id, because=f"api:{body.because}", now=now)
    return _coupon(coupon, offer)


async def quote(session: AsyncSession, body: QuoteIn, *, now: datetime) -> QuoteOut:
    member_id = await known_member(session, body.member, body.source)
    order = OrderRef(body.source, body.order_no) if body.order_no else None
    return _quote(await coupons.quote(session, member_id, body.codes, _basket(body), order=order, now=now))


async def hold(session: AsyncSession, body: HoldIn, *, now: datetime) -> QuoteOut:
    return await _use(session, body, until=now + timedelta(minutes=body.minutes), now=now)


async def redeem(session: AsyncSession, body: UseIn, *, now: datetime) -> QuoteOut:
    return await _use(session, body, until=None, now=now)


async def _use(session: AsyncSession, body: UseIn, *, until: datetime | None, now: datetime) -> QuoteOut:
    member_id, order = await known_member(session, body.member, body.source), OrderRef(body.source, body.order_no)
    found = await coupons.use(session, member_id, body.codes, order=order, basket=_basket(body), until=until, now=now)
    return _quote(found)


async def release(session: AsyncSession, body: ReleaseIn, *, now: datetime) -> ReleasedOut:
    order = OrderRef(body.source, body.order_no)
    return ReleasedOut(released=await coupons.release_order(session, order, now=now))


async def wallet(session: AsyncSession, body: WalletIn, *, now: datetime) -> CouponsOut:
    if body.order_no:
        found = await coupons.of_order(session, OrderRef(body.source, body.order_no))
    else:
        member_id = await known_member(session, body, body.source)
        found = [coupon for coupon, _ in await coupons.wallet_of(session, member_id, now=now)]
    known = await offers.get_batch(session, {coupon.offer_id for coupon in found})
    return CouponsOut(coupons=[_coupon(coupon, known[coupon.offer_id]) for coupon in found])


async def put_ladder(session: AsyncSession, body: LadderDraft, *, now: datetime) -> LadderOut:
    ladder = await ladders.put(session, body, now=now)
    return LadderOut(key=ladder.key, title=ladder.title, tiers=[tier.name for tier in ladders.tiers_of(ladder)])


async def standing(session: AsyncSession, body: StandingIn, *, now: datetime) -> StandingOut:
    member_id = await known_member(session, body, body.source)
    rungs = await ladders.explain(session, await ladders.get(session, body.key), member_id, now=now)
    return StandingOut(
        rungs=[
            RungOut(
                tier=one.tier.name,
                words=one.words,
                fits=one.fits,
                against=[f"{why.words}：{why.fact}" for why in one.against],
            )
            for one in rungs
        ]
    )


async def give(session: AsyncSession, body: GiveIn, *, now: datetime) -> GivenOut:
    member_id = await known_member(session, body.member, body.source)
    given = await ladders.give(session, body.key, member_id, because=f"api:{body.because}", now=now)
    coupon = _coupon(given.coupon, given.offer) if given.coupon is not None and given.offer is not None else None
    return GivenOut(
        tier=given.tier, reason=given.reason, coupon=coupon, points=given.points, passed_over=list(given.passed_over)
    )


async def known_member(session: AsyncSession, who: WhoIn, source: str) -> int:
    """A member who is known already; a stranger has no coupons and no points."""
    person = who.person(source)
    if person is None:
        raise NobodyNamed
    for kind, value in person.keys:
        if (found := await identities.find_by(session, kind, value)) is not None:
            return found.id
    raise MemberUnknown


def _basket(body: QuoteIn) -> Basket:
    return Basket(lines=[Line(**line.model_dump()) for line in body.lines], shipping_fen=body.shipping_fen)


def _offer(offer: Offer) -> OfferOut:
    shown = {name: getattr(offer, name) for name in OfferOut.model_fields if name != "is_closed"}
    return OfferOut(**shown, is_closed=offer.closed_at is not None)


def _coupon(coupon: Coupon, offer: Offer) -> CouponOut:
    shown = {name: getattr(coupon, name) for name in CouponOut.model_fields if name not in {"offer", "title"}}
    return CouponOut(**shown, offer=offer.key, title=offer.title)


def _quote(found: Quote) -> QuoteOut:
    return QuoteOut(
        goods_fen=found.goods_fen,
        shipping_fen=found.shipping_fen,
        discount_fen=found.discount_fen,
        to_pay_fen=found.to_pay_fen,
        saved=[SavedOut(**{name: getattr(one, name) for name in SavedOut.model_fields}) for one in found.saved],
        unfit=[UnfitOut(**{name: getattr(one, name) for name in UnfitOut.model_fields}) for one in found.unfit],
    )


CALLS = (
    Call("POST", "/offers", "Write an offer down, or change its limits", Draft, OfferOut, put_offer),
    Call("POST", "/offers/close", "No more coupons of an offer", OfferKeyIn, OfferOut, close_offer),
    Call("GET", "/offers", "An offer and what was given of it", OfferKeyIn, OfferOut, get_offer),
    Call("POST", "/ladders", "Write a tiered offer down, or change it", LadderDraft, LadderOut, put_ladder),
    Call("POST", "/ladders/give", "The best tier that fits a member", GiveIn, GivenOut, give),
    Call("GET", "/ladders", "How a member stands to every tier, and why", StandingIn, StandingOut, standing),
    Call("POST", "/coupons/issue", "A coupon for a member", IssueIn, CouponOut, issue),
    Call("POST", "/coupons/quote", "What a basket costs with coupons", QuoteIn, QuoteOut, quote),
    Call("POST", "/coupons/hold", "Hold coupons for an unpaid order", HoldIn, QuoteOut, hold),
    Call("POST", "/coupons/redeem", "Spend coupons on an order", UseIn, QuoteOut, redeem),
    Call("POST", "/coupons/release", "Give back what an unpaid order holds", ReleaseIn, ReleasedOut, release),
    Call("GET", "/coupons", "A member's coupons, or an order's", WalletIn, CouponsOut, wallet),
)
