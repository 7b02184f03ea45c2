"""API calls about offers and tiered offers: write one down, close it, give the best tier, say how a member stands."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field
from sqlalchemy.ext.asyncio import AsyncSession

from bot.models.api import Scope
from bot.web.api_call import Call
from bot.web.api_coupons import ISSUING, STRANGERS, CouponOut, Source, coupon_out, known_member
from bot.web.api_orders import Body, WhoIn
from campaigns import ladders, offers
from campaigns.ladders import LadderDraft, LadderNotFound, LadderWrong, NoTierFits
from campaigns.models.offer import Offer, OfferKind
from campaigns.offers import Draft, OfferFixed, OfferNotFound


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


async def put_offer(session: AsyncSession, body: Draft, *, now: datetime) -> OfferOut:
    return _offer(await offers.put(session, body, now=now))


async def close_offer(session: AsyncSession, body: OfferKeyIn, *, now: datetime) -> OfferOut:
    return _offer(await offers.close(session, body.key, now=now))


async def get_offer(session: AsyncSession, body: OfferKeyIn, *, now: datetime) -> OfferOut:
    del now
    return _offer(await offers.get(session, body.key))


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
    coupon = coupon_out(given.coupon, given.offer) if given.coupon is not None and given.offer is not None else None
    return GivenOut(
        tier=given.tier, reason=given.reason, coupon=coupon, points=given.points, passed_over=list(given.passed_over)
    )


def _offer(offer: Offer) -> OfferOut:
    shown = {name: getattr(offer, name) for name in OfferOut.model_fields if name != "is_closed"}
    return OfferOut(**shown, is_closed=offer.closed_at is not None)


_WHO = {"external_userid": "wmAAAABBBBCCCC"}
_OFFER = {
    "key": "满100减20",
    "title": "新客券",
    "kind": "amount",
    "amount_fen": 2000,
    "threshold_fen": 10000,
    "starts_at": "2026-03-09T00:00:00+08:00",
    "valid_days": 7,
    "stock": 500,
}
_LADDER = {"key": "生日礼", "title": "生日礼", "tiers": [{"name": "人人有", "offer": "满100减20"}]}
CALLS = (
    Call(
        method="POST",
        path="/offers",
        summary="Write an offer down, or change its limits",
        takes=Draft,
        gives=OfferOut,
        handle=put_offer,
        scope=Scope.COUPONS_WRITE,
        refuses=(OfferFixed,),
        example=_OFFER,
    ),
    Call(
        method="POST",
        path="/offers/close",
        summary="No more coupons of an offer",
        takes=OfferKeyIn,
        gives=OfferOut,
        handle=close_offer,
        scope=Scope.COUPONS_WRITE,
        refuses=(OfferNotFound,),
        example={"key": "满100减20"},
    ),
    Call(
        method="GET",
        path="/offers",
        summary="An offer and what was given of it",
        takes=OfferKeyIn,
        gives=OfferOut,
        handle=get_offer,
        scope=Scope.COUPONS_READ,
        refuses=(OfferNotFound,),
        example={"key": "满100减20"},
    ),
    Call(
        method="POST",
        path="/ladders",
        summary="Write a tiered offer down, or change it",
        takes=LadderDraft,
        gives=LadderOut,
        handle=put_ladder,
        scope=Scope.COUPONS_WRITE,
        refuses=(LadderWrong,),
        example=_LADDER,
    ),
    Call(
        method="POST",
        path="/ladders/give",
        summary="The best tier that fits a member",
        takes=GiveIn,
        gives=GivenOut,
        handle=give,
        scope=Scope.COUPONS_WRITE,
        refuses=(*STRANGERS, LadderNotFound, NoTierFits, *ISSUING),
        example={"key": "生日礼", "member": _WHO, "because": "2026"},
    ),
    Call(
        method="GET",
        path="/ladders",
        summary="How a member stands to every tier, and why",
        takes=StandingIn,
        gives=StandingOut,
        handle=standing,
        scope=Scope.COUPONS_READ,
        refuses=(*STRANGERS, LadderNotFound),
        example={"key": "生日礼", **_WHO},
    ),
)
