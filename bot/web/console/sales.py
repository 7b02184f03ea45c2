"""Flash sales planned: the list, a draft made and changed with its mistakes named as one types, announced, ended."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from aiohttp import web
from multidict import MultiDictProxy

from bot.access.rights import Right
from bot.flashsale import announce_words, announcing, board, files, sales
from bot.flashsale.files import SaleFile
from bot.flashsale.terms import SaleInvalid
from bot.models.sale import Sale, SaleStatus
from bot.web.console import sale_names
from bot.web.language import N_
from bot.web.screens import Screens, change, go, house_of, looking, render
from campaigns.words import Level
from crm import groups
from crm.base.errors import Refused

SCREENS = Screens()
PATH = "/console/sales"
SHOWN = 100
ITEM_FIELDS = ("code", "sku", "name", "price", "list_price", "stock", "limit_each", "picture", "shares")
FIELDS = {
    "name": N_("名称"), "opens_at": N_("开抢时间"), "closes_at": N_("结束时间"), "pay_minutes": N_("付款时限"),
    "announce_hours": N_("提前多久公告"), "early_at": N_("提前购时间"), "items": N_("商品"), "code": N_("代号"),
    "sku": "SKU", "price": N_("秒杀价"), "list_price": N_("原价"), "stock": N_("库存"), "limit_each": N_("每人限购"),
    "groups": N_("客户群"), "shares": N_("各群份额"), "series": N_("每周一次"),
}  # fmt: skip


class NotADraft(Refused):
    """It was announced meanwhile: what members have seen is not changed under them."""

    code = "sale.not_a_draft"


@SCREENS.get(PATH, Right.CONSOLE)
async def everything(request: web.Request) -> web.Response:
    async with looking(request) as session:
        found = (await session.scalars(sa.select(Sale).order_by(Sale.opens_at.desc()).limit(SHOWN))).all()
        lines = [(one, await board.items(session, one.id), await announcing.progress(session, one.id)) for one in found]
    return render(request, "console/sales.html", lines=lines, names=sale_names)


@SCREENS.get(PATH + "/new", Right.MANAGE)
async def new(request: web.Request) -> web.Response:
    """An empty form, or one that begins with what another sale was."""
    form: dict[str, Any] | None = None
    if code := request.query.get("from", ""):
        async with looking(request) as session:
            form = _form(await files.told(session, await sales.get(session, code)))
            form |= {"opens_at": None, "closes_at": None, "early_at": None}
    return await _editor(request, None, form=form)


@SCREENS.get(PATH + "/row", Right.MANAGE)
async def row(request: web.Request) -> web.Response:
    """One more article in the form."""
    return render(request, "console/_sale_row.html", item={})


@SCREENS.get(PATH + "/{code:\\w{1,8}}/edit", Right.MANAGE)
async def edit(request: web.Request) -> web.Response:
    async with looking(request) as session:
        sale = await sales.get(session, request.match_info["code"])
        if sale.status is not SaleStatus.DRAFT:
            raise NotADraft
        form = _form(await files.told(session, sale))
    return await _editor(request, sale, form=form)


@SCREENS.post(PATH + "/check", Right.MANAGE)
async def check(request: web.Request) -> web.Response:
    """What is wrong with the form as it stands, and what announcing it would say where."""
    posted, house = await request.post(), house_of(request)
    now = house.app.clock.now()
    try:
        told = files.understood(_told(posted))
        async with looking(request) as session:
            plan = await files.plan(session, told)
        if why := sales.problem(plan, now=now):
            raise SaleInvalid(why)
    except SaleInvalid as wrong:
        return render(request, "console/_sale_check.html", mistakes=_mistakes(wrong))
    views = [
        board.ItemView(
            item_id=0, code=one.code.upper(), name=one.name, picture="", price_fen=one.price_fen,
            list_price_fen=one.list_price_fen, stock=one.stock, held=0, sold=0, limit_each=one.limit_each,
        )
        for one in plan.items
    ]  # fmt: skip
    sale = Sale(
        name=plan.name, opens_at=plan.opens_at, early_at=plan.early_at, closes_at=plan.closes_at,
        ahead_seconds=int(plan.announce_ahead.total_seconds()),
    )  # fmt: skip
    text = announce_words.announcement(sale, views, has_link=bool(house.app.public_url))
    async with looking(request) as session:
        seen = await announcing.outlook_of(session, sale, plan.group_ids, house.app.gate, now=now)
    return render(
        request,
        "console/_sale_check.html",
        mistakes=[],
        text=text if plan.group_ids else "",
        words=[one for one in house.app.words.check(text) if plan.group_ids],
        refuses=Level.REFUSE,
        seen=seen,
        names=sale_names,
    )


@SCREENS.post(PATH, Right.MANAGE)
async def make(request: web.Request) -> web.Response:
    posted = await request.post()
    try:
        async with change(request, "sale.planned") as deed:
            plan = await files.plan(deed.session, files.understood(_told(posted)))
            chance = house_of(request).app.chance
            sale = await sales.plan(deed.session, plan, now=deed.now, chance=chance)
            deed.about = f"sale:{sale.code}"
    except SaleInvalid as wrong:
        return await _editor(request, None, form=_told(posted), wrong=wrong)
    return go(request, f"{PATH}/{sale.code}")


@SCREENS.post(PATH + "/{code:\\w{1,8}}/edit", Right.MANAGE)
async def save(request: web.Request) -> web.Response:
    posted, code = await request.post(), request.match_info["code"]
    try:
        async with change(request, "sale.changed", about=f"sale:{code}") as deed:
            sale = await sales.get(deed.session, code)
            plan = await files.plan(deed.session, files.understood(_told(posted)))
            chance = house_of(request).app.chance
            if not await sales.change(deed.session, sale.id, plan, now=deed.now, chance=chance):
                raise NotADraft
    except SaleInvalid as wrong:
        async with looking(request) as session:
            sale = await sales.get(session, code)
        return await _editor(request, sale, form=_told(posted), wrong=wrong)
    return go(request, f"{PATH}/{code}")


async def _editor(
    request: web.Request, sale: Sale | None, *, form: Mapping[str, Any] | None = None, wrong: SaleInvalid | None = None
) -> web.Response:
    async with looking(request) as session:
        known = await groups.living(session)
    form = form or {"items": [{}], "pay_minutes": 15, "announce_hours": 2, "groups_only": True, "honours_late": True}
    return render(
        request,
        "console/sale_form.html",
        status=422 if wrong is not None else 200,
        sale=sale,
        form={name: _shown(value) for name, value in form.items()},
        groups=known,
        mistakes=_mistakes(wrong) if wrong is not None else [],
    )


# ---- between the form and plain data


def _form(told: SaleFile) -> dict[str, Any]:
    return told.model_dump()


def _shown(value: Any) -> Any:
    """19.9 for 19.90, and 2 for 2.0: as one would type it."""
    return f"{value:f}".rstrip("0").rstrip(".") if isinstance(value, Decimal) and "." in f"{value:f}" else value


def _told(posted: MultiDictProxy[Any]) -> dict[str, Any]:
    """What the form says, as a file would say it; what is left empty is not said."""
    told: dict[str, Any] = {name: str(posted.get(name, "")).strip() for name in ("name", "opens_at", "closes_at")}
    for name in ("pay_minutes", "announce_hours", "early_at"):
        told[name] = str(posted.get(name, "")).strip()
    for name in ("early_levels", "early_tags"):
        told[name] = [one.strip() for one in str(posted.get(name, "")).replace("，", ",").split(",") if one.strip()]
    told["groups"] = [str(one) for one in posted.getall("groups", [])]
    if posted.get("weekly") == "1":
        told["series"] = str(posted.get("series", "")).strip() or told["name"][:40]
    told["items"] = _items(posted)
    told = {name: value for name, value in told.items() if value != ""}
    return told | {name: posted.get(name) == "1" for name in ("groups_only", "recaps", "honours_late")}


def _items(posted: MultiDictProxy[Any]) -> list[dict[str, Any]]:
    columns = {name: [str(one).strip() for one in posted.getall(f"item-{name}", [])] for name in ITEM_FIELDS}
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=False)]
    items: list[dict[str, Any]] = []
    for one in rows:
        if any(value for name, value in one.items() if name not in ("limit_each",)):
            said: dict[str, Any] = {name: value for name, value in one.items() if value}
            if "shares" in said:
                said["shares"] = _shares(said["shares"])
            items.append(said)
    return items


def _shares(text: str) -> dict[str, str]:
    """猫咪 1 群=5，狗狗群=3"""
    parts = (one.rpartition("=") for one in text.replace("，", ",").replace("＝", "=").split(",") if one.strip())
    return {name.strip() or "?": units.strip() for name, _, units in parts}


def _mistakes(wrong: SaleInvalid) -> list[tuple[str, int | None, str]]:
    """Each mistake as (field, number of the article, what is wrong)."""
    found = []
    for line in wrong.problem.splitlines():
        path, colon, why = line.partition("：")
        parts = path.split(".")
        number = int(parts[1]) + 1 if len(parts) > 1 and parts[1].isdigit() else None
        field = next((FIELDS[one] for one in reversed(parts) if one in FIELDS), "")
        found.append((field, number, why) if colon and field else ("", None, line))
    return found
