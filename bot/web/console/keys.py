"""Keys to the HTTP API: made with the scopes they need, shown once, taken back."""

import secrets
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from aiohttp import web

from bot import api_keys
from bot.access.rights import Right
from bot.api_keys import Made
from bot.models.api import Scope
from bot.web.language import N_
from bot.web.screens import Screens, change, house_of, looking, render, say, who
from crm.base.errors import Refused, ShopError

SCREENS = Screens()
PATH = "/console/keys"
DAYS = (30, 90, 365)
SCOPES: Mapping[Scope, str] = {
    Scope.ORDERS_READ: N_("看订单"),
    Scope.ORDERS_WRITE: N_("写订单和退款"),
    Scope.MEMBERS_READ: N_("查会员，姓名和编号遮盖"),
    Scope.MEMBERS_PERSONAL: N_("看姓名、编号和手机号，每次看手机号都留底"),
    Scope.MEMBERS_ERASE: N_("抹除会员"),
    Scope.COUPONS_READ: N_("看优惠和券、算价"),
    Scope.COUPONS_WRITE: N_("建优惠，发券、占用、核销"),
    Scope.POINTS_READ: N_("看积分和等级"),
    Scope.POINTS_WRITE: N_("加减积分、签到"),
    Scope.SEGMENTS_READ: N_("看人群和里面的人"),
    Scope.SALES_READ: N_("看秒杀、库存和抢单"),
    Scope.SALES_WRITE: N_("建秒杀，公布、结束"),
    Scope.CAMPAIGNS_READ: N_("看活动和进度"),
    Scope.CAMPAIGNS_WRITE: N_("暂停、继续、结束活动"),
    Scope.EVENTS_READ: N_("读发生过的事"),
    Scope.EVENTS_WRITE: N_("写自定义事件"),
}


class NoDataKey(Refused):
    """Without SIYU_DATA_KEY nothing can be hashed or sealed."""

    code = "settings.no_data_key"


@SCREENS.get(PATH, Right.ACCOUNTS)
async def everything(request: web.Request) -> web.Response:
    return await _page(request)


@SCREENS.post(PATH, Right.ACCOUNTS)
async def create(request: web.Request) -> web.Response:
    """The answer shows the key, this once."""
    given, vault = await request.post(), house_of(request).vault
    name, days = str(given.get("name", "")).strip(), str(given.get("days", ""))
    scopes = frozenset(scope for scope in Scope if scope.value in given.getall("scope", []))
    form = {"name": name, "days": days, "scopes": scopes}
    try:
        if vault is None:
            raise NoDataKey
        async with change(request, "api_key.made", name=name, scopes=sorted(scopes)) as deed:
            until = deed.now + timedelta(days=int(days)) if days in {str(one) for one in DAYS} else None
            by, chance = who(request).account.name, secrets.SystemRandom()
            made = await api_keys.create(
                deed.session, vault, name, scopes, by=by, expires_at=until, now=deed.now, chance=chance
            )
            deed.about = f"api_key:{made.key.id}"
    except ShopError as refusal:
        return await _page(request, refusal=refusal, form=form)
    return await _page(request, made=made)


@SCREENS.post(PATH + "/revoke", Right.ACCOUNTS)
async def revoke(request: web.Request) -> web.Response:
    name = str((await request.post()).get("name", ""))
    try:
        async with change(request, "api_key.revoked", name=name) as deed:
            await api_keys.revoke(deed.session, name, by=who(request).account.name, now=deed.now)
            deed.about = f"api_key:{(await api_keys.get(deed.session, name)).id}"
    except ShopError as refusal:
        return await _page(request, refusal=refusal)
    return await _page(request, said=say(request, N_("钥匙「%(name)s」已收回，下一次调用就会被拒绝。"), name=name))


async def _page(
    request: web.Request,
    *,
    refusal: ShopError | None = None,
    form: dict[str, Any] | None = None,
    made: Made | None = None,
    said: str = "",
) -> web.Response:
    house = house_of(request)
    async with looking(request) as session:
        keys = await api_keys.everything(session)
    return render(
        request,
        "console/keys.html",
        status=refusal.status if refusal is not None else 200,
        keys=keys,
        scopes=SCOPES,
        known={scope.value: words for scope, words in SCOPES.items()},
        days=DAYS,
        now=house.app.clock.now(),
        can_seal=house.vault is not None,
        in_settings=sorted(house.settings.api_keys),
        form=form or {"scopes": frozenset()},
        refusal=refusal,
        made=made,
        said=said,
    )
