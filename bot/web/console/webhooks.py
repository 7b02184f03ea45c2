"""Webhooks: which addresses hear of what, how they fare, every attempt, and sending again."""

import secrets
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from bot.access.rights import Right
from bot.models.webhook import DeliveryState, Webhook
from bot.web import formats
from bot.web.console.keys import NoDataKey
from bot.web.language import N_
from bot.web.screens import Screens, change, go, house_of, looking, render, say, who
from bot.webhooks import endpoints, trying
from bot.webhooks.courier import courier
from bot.webhooks.endpoints import Added
from crm.base.errors import Invalid, ShopError

SCREENS = Screens()
PATH = "/console/webhooks"
ONE = PATH + r"/{id:\d{1,15}}"
SIZE = 30
STATES: Mapping[DeliveryState, tuple[str, str]] = {
    DeliveryState.WAITING: (N_("等着"), "yellow"),
    DeliveryState.DELIVERED: (N_("收下了"), "green"),
    DeliveryState.GIVEN_UP: (N_("放弃了"), "red"),
}


EVENTS: Mapping[str, str] = {
    "MemberEnrolled": N_("新会员"),
    "MembersMerged": N_("两个会员是同一个人，合成了一个"),
    "MergeUndone": N_("合并撤销了"),
    "OrderPlaced": N_("下单"),
    "OrderPaid": N_("付款"),
    "OrderRefunded": N_("退款"),
    "OrderCancelled": N_("取消订单"),
    "OrderChanged": N_("订单被改"),
    "StageMoved": N_("生命周期阶段变了"),
    "LevelMoved": N_("等级变了"),
    "PointsMoved": N_("积分变了"),
    "PointsActivated": N_("待入账的积分可以用了"),
    "CheckedIn": N_("签到"),
    "MemberTagged": N_("打上标签"),
    "MemberUntagged": N_("摘下标签"),
    "SegmentEntered": N_("进了被关注的人群"),
    "SegmentLeft": N_("离开被关注的人群"),
    "ContactAdded": N_("加了员工的好友"),
    "ContactLost": N_("和员工不再是好友"),
    "GroupJoined": N_("进群"),
    "GroupLeft": N_("退群"),
    "OptedIn": N_("同意营销"),
    "OptedOut": N_("退订"),
    "CouponIssued": N_("拿到券"),
    "CouponRedeemed": N_("用掉券"),
    "CouponExpiring": N_("券快到期"),
    "CampaignPaused": N_("活动停下了"),
    "RunAsks": N_("活动过点了，在等人决定"),
}


class SpanUnreadable(Invalid):
    """A range to send again has a beginning and an end that can be read."""

    code = "webhook.span_unreadable"


@SCREENS.get(PATH, Right.SETTINGS)
async def everything(request: web.Request) -> web.Response:
    return await _page(request)


@SCREENS.post(PATH, Right.SETTINGS)
async def add(request: web.Request) -> web.Response:
    """The answer shows the secret, this once."""
    given, house = await request.post(), house_of(request)
    name, url = str(given.get("name", "")).strip(), str(given.get("url", "")).strip()
    names = [str(one) for one in given.getall("event", [])]
    try:
        if house.vault is None:
            raise NoDataKey
        async with change(request, "webhook.added", name=name, url=url, events=names) as deed:
            by, chance, private = who(request).account.name, secrets.SystemRandom(), house.settings.webhooks.private
            added = await endpoints.add(
                deed.session, house.vault, name, url, names, private=private, by=by, now=deed.now, chance=chance
            )
            deed.about = f"webhook:{added.webhook.id}"
    except ShopError as refusal:
        return await _page(request, refusal=refusal, form={"name": name, "url": url, "events": names})
    return await _page(request, added=added)


@SCREENS.get(ONE, Right.SETTINGS)
async def show(request: web.Request) -> web.Response:
    return await _log(request)


@SCREENS.post(ONE, Right.SETTINGS)
async def alter(request: web.Request) -> web.Response:
    """Switch on or off, remove, try, send again: whatever the form's button says."""
    given, house = await request.post(), house_of(request)
    hook_id, do = int(request.match_info["id"]), str(given.get("do", ""))
    async with looking(request) as session:
        hook = await endpoints.by_id(session, hook_id)
    try:
        if do == "test":
            return await _try(request, hook)
        if do not in DEEDS:
            raise web.HTTPNotFound
        async with change(request, DEEDS[do], about=f"webhook:{hook_id}", name=hook.name) as deed:
            if do == "enable":
                deed.facts["waiting"] = await endpoints.enable(deed.session, hook.name, now=deed.now)
            elif do == "disable":
                because = say(request, N_("由 %(who)s 停用"), who=who(request).account.title)
                await endpoints.disable(deed.session, hook.name, because=because, now=deed.now)
            elif do == "remove":
                await endpoints.remove(deed.session, hook.name, now=deed.now)
            else:
                again = await endpoints.replay(deed.session, hook_id, now=deed.now, **_span(do, given))
                deed.facts["again"] = again
    except ShopError as refusal:
        return await _log(request, refusal=refusal)
    house.app.peers.tap("webhooks")
    if do == "remove":
        return go(request, PATH)
    if do.startswith("replay"):
        return await _log(request, said=say(request, N_("%(count)s 件马上重发。"), count=f"{again:,}"))
    return await _log(request, said=say(request, N_("已保存。")))


DEEDS = {
    "enable": "webhook.enabled",
    "disable": "webhook.disabled",
    "remove": "webhook.removed",
    "replay": "webhook.replayed",
    "replay_failed": "webhook.replayed",
    "replay_span": "webhook.replayed",
}


def _span(do: str, given: Any) -> dict[str, Any]:
    """Which ones to send again: one, those that were given up, or a range of time."""
    if do == "replay_failed":
        return {"only": DeliveryState.GIVEN_UP}
    try:
        if do == "replay":
            return {"ids": [int(str(given["delivery"]))]}
        since, until = (formats.from_form(str(given.get(name, ""))) for name in ("since", "until"))
    except (KeyError, ValueError):
        raise SpanUnreadable from None
    if since is None or until is None or since >= until:
        raise SpanUnreadable
    return {"since": since, "until": until}


async def _try(request: web.Request, hook: Webhook) -> web.Response:
    house = house_of(request)
    if house.vault is None:
        raise NoDataKey
    told = house.settings.webhooks
    async with courier(house.app.clock, private=told.private, seconds=told.timeout.total_seconds()) as carrier:
        now = house.app.clock.now()
        answer = await trying.ping(house.app.sessions, carrier, house.vault, hook.name, now=now)
    return await _log(request, answer=answer)


async def _page(
    request: web.Request,
    *,
    refusal: ShopError | None = None,
    form: dict[str, Any] | None = None,
    added: Added | None = None,
) -> web.Response:
    house = house_of(request)
    async with looking(request) as session:
        found = await endpoints.everything(session, now=house.app.clock.now())
    return render(
        request,
        "console/webhooks.html",
        status=refusal.status if refusal is not None else 200,
        hooks=found,
        told=EVENTS,
        can_seal=house.vault is not None,
        private=house.settings.webhooks.private,
        form=form or {"events": []},
        refusal=refusal,
        added=added,
    )


async def _log(request: web.Request, *, refusal: ShopError | None = None, **more: Any) -> web.Response:
    hook_id, query = int(request.match_info["id"]), request.query
    state = next((one for one in DeliveryState if one.value == query.get("state")), None)
    before = int(query["before"]) if query.get("before", "").isdigit() and len(query["before"]) < 16 else 0
    async with looking(request) as session:
        hook = await endpoints.by_id(session, hook_id)
        all_ = await endpoints.everything(session, now=house_of(request).app.clock.now())
        standing = next(one for one in all_ if one.webhook.id == hook_id)
        logged = await endpoints.log(session, hook_id, state=state, limit=SIZE + 1, before=before)
    status = refusal.status if refusal is not None else 200
    return render(
        request,
        "console/webhook.html",
        status=status,
        hook=hook,
        standing=standing,
        logged=logged[:SIZE],
        more=logged[SIZE - 1].delivery.id if len(logged) > SIZE else None,
        state=state,
        states=STATES,
        refusal=refusal,
        **more,
    )
