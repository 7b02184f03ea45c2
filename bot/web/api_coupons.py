"""API calls about coupons: issue one, price a basket, hold, redeem, release, look."""

from datetime import datetime, timedelta
from typing import Annotated

from pydantic import BaseModel, Field
from sqlalchemy.ext.asyncio import AsyncSession

from bot.models.api import Scope
from bot.web.api_call import Call
from bot.web.api_orders import Body, Fen, MemberUnknown, Name, NobodyNamed, WhoIn
from campaigns import coupons, offers
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
from campaigns.models.offer import Coupon, CouponStatus, Offer, OfferKind
from campaigns.offer_rules import Basket, Line, Quote
from campaigns.offers import OfferNotFound
from crm import identities
from crm.holds import PersonErased

Code = Annotated[str, Field(max_length=20)]
Source = Annotated[str, Field(min_length=1, max_length=40)]
HOLD = timedelta(minutes=30)


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


async def issue(session: AsyncSession, body: IssueIn, *, now: datetime) -> CouponOut:
    offer = await offers.get(session, body.offer)
    member_id = await known_member(session, body.member, body.source)
    coupon = await coupons.issue(session, offer.id, member_id, because=f"api:{body.because}", now=now)
    return coupon_out(coupon, offer)


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
    return CouponsOut(coupons=[coupon_out(coupon, known[coupon.offer_id]) for coupon in found])


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


def coupon_out(coupon: Coupon, offer: Offer) -> CouponOut:
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


STRANGERS = (MemberUnknown, NobodyNamed)
ISSUING = (OfferNotFound, OfferNotOpen, OfferSoldOut, LimitReached, PersonErased)
_USING = (CouponNotFound, CouponExpired, CouponSpent, CouponInUse)
_WHO = {"external_userid": "wmAAAABBBBCCCC"}
_BASKET = {"member": _WHO, "lines": [{"sku": "CF-2KG", "price_fen": 12800}], "shipping_fen": 800}
_USE = {**_BASKET, "codes": ["K7M2QX4R"], "order_no": "A20260308-1"}
CALLS = (
    Call(
        method="POST",
        path="/coupons/issue",
        summary="A coupon for a member",
        takes=IssueIn,
        gives=CouponOut,
        handle=issue,
        scope=Scope.COUPONS_WRITE,
        refuses=(*STRANGERS, *ISSUING),
        example={"offer": "满100减20", "member": _WHO, "because": "welcome"},
    ),
    Call(
        method="POST",
        path="/coupons/quote",
        summary="What a basket costs with coupons",
        takes=QuoteIn,
        gives=QuoteOut,
        handle=quote,
        scope=Scope.COUPONS_READ,
        refuses=(*STRANGERS, *_USING),
        example=_BASKET,
    ),
    Call(
        method="POST",
        path="/coupons/hold",
        summary="Hold coupons for an unpaid order",
        takes=HoldIn,
        gives=QuoteOut,
        handle=hold,
        scope=Scope.COUPONS_WRITE,
        refuses=(*STRANGERS, *_USING, CouponUnfit, BudgetSpent),
        example=_USE,
    ),
    Call(
        method="POST",
        path="/coupons/redeem",
        summary="Spend coupons on an order",
        takes=UseIn,
        gives=QuoteOut,
        handle=redeem,
        scope=Scope.COUPONS_WRITE,
        refuses=(*STRANGERS, *_USING, CouponUnfit, BudgetSpent),
        example=_USE,
    ),
    Call(
        method="POST",
        path="/coupons/release",
        summary="Give back what an unpaid order holds",
        takes=ReleaseIn,
        gives=ReleasedOut,
        handle=release,
        scope=Scope.COUPONS_WRITE,
        example={"order_no": "A20260308-1"},
    ),
    Call(
        method="GET",
        path="/coupons",
        summary="A member's coupons, or an order's",
        takes=WalletIn,
        gives=CouponsOut,
        handle=wallet,
        scope=Scope.COUPONS_READ,
        refuses=STRANGERS,
        example=_WHO,
    ),
)
