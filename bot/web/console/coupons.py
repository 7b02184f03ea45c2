"""优惠与券 for managers: what the shop promises and how much is out, an offer written, a coupon for a segment."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from aiohttp import web
from pydantic import ValidationError

from bot.access.rights import Right
from bot.web import grant_names
from bot.web.console import coupon_form
from bot.web.language import N_
from bot.web.screens import Screens, change, go, house_of, looking, render, who
from campaigns import coupon_grants, offers
from campaigns.models.coupon_grant import GrantStatus
from campaigns.models.offer import Coupon, CouponStatus, Offer, OfferKind
from crm.base.errors import ShopError
from crm.models.audience import Segment

SCREENS = Screens()
PATH = "/console/coupons"
SHOWN = 200
KINDS: Mapping[OfferKind, str] = {
    OfferKind.AMOUNT: N_("满减"), OfferKind.PERCENT: N_("折扣"), OfferKind.GIFT: N_("赠品"),
    OfferKind.SHIPPING: N_("免邮"),
}  # fmt: skip


@SCREENS.get(PATH, Right.CONSOLE)
async def everything(request: web.Request) -> web.Response:
    """Offers with what is out, held and spent, and what was given to segments."""
    async with looking(request) as session:
        found = (await session.scalars(sa.select(Offer).order_by(Offer.id.desc()).limit(SHOWN))).all()
        counted = await session.execute(
            sa.select(Coupon.offer_id, Coupon.status, sa.func.count())
            .where(Coupon.offer_id.in_([one.id for one in found]))
            .group_by(Coupon.offer_id, Coupon.status)
        )
        used = {(offer_id, status): count for offer_id, status, count in counted}
        grants = await coupon_grants.newest(session)
    return render(
        request, "console/_grants.html" if "grants" in request.query else "console/coupons.html", found=found,
        used=used, grants=grants, states=grant_names.STATUS, because=grant_names.BECAUSE, kinds=KINDS,
        is_open=offers.is_open, CouponStatus=CouponStatus, GrantStatus=GrantStatus,
    )  # fmt: skip


@SCREENS.get(PATH + "/offer", Right.MANAGE)
async def form(request: web.Request) -> web.Response:
    """An empty form, or the offer named by `key`."""
    key = request.query.get("key", "")
    async with looking(request) as session:
        offer = await offers.get(session, key) if key else None
    return _form(request, coupon_form.shown(offer, house_of(request).app.clock.now()), offer)


@SCREENS.post(PATH + "/offer", Right.MANAGE)
async def put(request: web.Request) -> web.Response:
    """Write it down; what is wrong is said beside its field and nothing that was typed is lost."""
    typed = {name: str(value).strip() for name, value in (await request.post()).items()}
    async with looking(request) as session:
        known = await offers.find(session, typed.get("key", ""))
    try:
        draft = coupon_form.read(typed)
        async with change(request, "offer.saved", about=f"offer:{draft.key}") as deed:
            await offers.put(deed.session, draft, now=deed.now)
    except ValidationError as wrong:
        return _form(request, typed, known, mistakes=coupon_form.mistakes(wrong))
    except ShopError as refusal:
        return _form(request, typed, known, refusal=refusal)
    return go(request, PATH)


def _form(
    request: web.Request,
    typed: Mapping[str, Any],
    offer: Offer | None,
    *,
    mistakes: Mapping[str, str] | None = None,
    refusal: ShopError | None = None,
) -> web.Response:
    return render(
        request, "console/coupon_offer.html", status=422 if mistakes else refusal.status if refusal else 200,
        form=typed, offer=offer, mistakes=mistakes or {}, refusal=refusal, kinds=KINDS,
    )  # fmt: skip


@SCREENS.post(PATH + "/close", Right.MANAGE)
async def close(request: web.Request) -> web.Response:
    """No more of it; what is out stays good."""
    key = str((await request.post()).get("key", ""))
    async with change(request, "offer.closed", about=f"offer:{key}") as deed:
        await offers.close(deed.session, key, now=deed.now)
    return go(request, PATH)


@SCREENS.get(PATH + "/give", Right.MANAGE)
async def give_form(request: web.Request) -> web.Response:
    """Whom an offer would reach: the page, or with htmx the answer for what is chosen."""
    key, segment = request.query.get("offer", ""), request.query.get("segment", "")
    outlook, refusal, now = None, None, house_of(request).app.clock.now()
    async with looking(request) as session:
        offer = await offers.get(session, key)
        names = list(await session.scalars(sa.select(Segment.name).order_by(Segment.name)))
        if segment:
            try:
                told = await coupon_grants.condition_of(session, segment)
                outlook = await coupon_grants.outlook(session, key, told, now=now)
            except ShopError as error:
                refusal = error
    is_piece = "HX-Request" in request.headers
    return render(
        request, "console/_give_outlook.html" if is_piece else "console/coupon_give.html", offer=offer, names=names,
        segment=segment, outlook=outlook, refusal=refusal, worth_fen=offers.worth_fen(offer),
    )  # fmt: skip


@SCREENS.post(PATH + "/give", Right.MANAGE)
async def give(request: web.Request) -> web.Response:
    """The same offer to the same segment under the same name is the same grant: a second tap gives nothing more."""
    posted = await request.post()
    key, segment, name = (str(posted.get(one, "")).strip() for one in ("offer", "segment", "name"))
    async with change(request, "coupons.granted", about=f"offer:{key}", segment=segment) as deed:
        told = await coupon_grants.condition_of(deed.session, segment)
        name = (name or f"{key}·{segment}·{deed.now:%m%d}")[:60]
        by = who(request).account.name
        await coupon_grants.begin(deed.session, name, key, told, by=by, now=deed.now)
        deed.facts["name"] = name
    house_of(request).app.peers.tap("campaigns")
    return go(request, PATH)


@SCREENS.post(PATH + "/grants", Right.MANAGE)
async def answer(request: web.Request) -> web.Response:
    """Stop one, or let one go on that asks."""
    posted = await request.post()
    name, goes_on = str(posted.get("name", "")), posted.get("verb") == "go_on"
    async with change(request, "coupons.grant_resumed" if goes_on else "coupons.grant_stopped", name=name) as deed:
        await (coupon_grants.go_on if goes_on else coupon_grants.stop)(deed.session, name, now=deed.now)
    return go(request, PATH)
