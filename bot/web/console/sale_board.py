"""One flash sale as it goes: stock, claims each second, each group, who has not sent the announcement; the money."""

from typing import Any

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncSession

from bot.access.rights import Right
from bot.flashsale import announcing, board, payments, sales
from bot.models.sale import Sale, SaleStatus
from bot.web.console import sale_names
from bot.web.console.sales import PATH
from bot.web.language import N_
from bot.web.live import Live, State
from bot.web.screens import Screens, change, go, house_of, looking, render, say
from crm.base.errors import NotFound, Refused, ShopError

SCREENS = Screens()
LIVE = web.AppKey("sale_board_live", Live)
ONE = PATH + "/{code:\\w{1,8}}"
NOW_ON = (SaleStatus.ANNOUNCED, SaleStatus.OPEN)


class CannotNow(Refused):
    """Where the sale stands this cannot be done, or somebody did it a moment ago."""

    code = "sale.cannot_now"


class RefundNotDue(NotFound):
    """No payment with this number waits for its refund."""

    code = "sale.refund_not_due"


@SCREENS.get(ONE, Right.CONSOLE)
async def one(request: web.Request) -> web.Response:
    return await _page(request)


@SCREENS.get(ONE + "/board", Right.CONSOLE)
async def part(request: web.Request) -> web.Response:
    """What moves."""
    async with looking(request) as session:
        sale = await sales.get(session, request.match_info["code"])
        return render(request, "console/_sale_board.html", **await _seen(request, session, sale))


@SCREENS.get(ONE + "/live", Right.CONSOLE)
async def live(request: web.Request) -> web.StreamResponse:
    """Server-sent events: something of it moved."""
    async with looking(request) as session:
        sale = await sales.get(session, request.match_info["code"])
    return await request.app[LIVE].stream(request, sale.id)


@SCREENS.post(ONE + "/announce", Right.MANAGE)
async def announce(request: web.Request) -> web.Response:
    app, code = house_of(request).app, request.match_info["code"]
    try:
        async with change(request, "sale.announced", about=f"sale:{code}") as deed:
            sale = await sales.get(deed.session, code)
            told = await announcing.announce(
                deed.session, sale, gate=app.gate, words=app.words, public_url=app.public_url, now=deed.now
            )
            if not told:
                raise CannotNow
    except ShopError as refusal:
        return await _page(request, refusal=refusal, status=refusal.status)
    app.peers.tap("campaigns")
    return go(request, f"{PATH}/{code}")


@SCREENS.post(ONE + "/close", Right.MANAGE)
async def close(request: web.Request) -> web.Response:
    """No more claims and no more offers; who holds one may still pay."""
    code, ends_series = request.match_info["code"], (await request.post()).get("series") == "1"
    async with change(request, "sale.closed", about=f"sale:{code}", series=ends_series) as deed:
        sale = await sales.get(deed.session, code)
        if not await sales.close(deed.session, sale.id, now=deed.now):
            raise CannotNow
        if ends_series and sale.series is not None:
            await sales.end_series(deed.session, sale.series)
    return go(request, f"{PATH}/{code}")


@SCREENS.post(ONE + "/refunds/{payment:\\d{1,18}}", Right.MANAGE)
async def refunded(request: web.Request) -> web.Response:
    """A person says that the money went back."""
    payment_id = int(request.match_info["payment"])
    async with change(request, "sale.refunded", about=f"payment:{payment_id}") as deed:
        if not await payments.refunded(deed.session, payment_id):
            raise RefundNotDue
    return await _page(request, said=say(request, N_("记下了：这笔款已经退回。")))


async def _page(request: web.Request, **more: Any) -> web.Response:
    async with looking(request) as session:
        sale = await sales.get(session, request.match_info["code"])
        seen = await _seen(request, session, sale)
    return render(request, "console/sale.html", **seen, **more)


async def _seen(request: web.Request, session: AsyncSession, sale: Sale) -> dict[str, Any]:
    app = house_of(request).app
    now = app.clock.now()
    is_draft = sale.status is SaleStatus.DRAFT
    pace = await board.pace(session, sale.id, now=now)
    return {
        "sale": sale,
        "names": sale_names,
        "items": await board.items(session, sale.id),
        "waiting": await board.waiting(session, sale.id),
        "by_group": await board.groups(session, sale.id),
        "money": await board.money(session, sale.id),
        "refunds": await board.refunds_due(session, sale.id),
        "pace": pace,
        "chart_option": _chart(request, pace),
        "known": await announcing.progress(session, sale.id),
        "seen": await announcing.outlook(session, sale, app.gate, now=now) if is_draft else None,
        "is_on": sale.status in NOW_ON,
        "page": f"{app.public_url}/h5/sales/{sale.code}" if app.public_url else "",
    }


def _chart(request: web.Request, pace: board.Pace) -> dict[str, Any]:
    return {
        "tooltip": {"trigger": "axis"},
        "xAxis": {
            "type": "category",
            "data": [f"−{board.PACE_MINUTES - place}" for place in range(board.PACE_MINUTES)],
        },
        "yAxis": {"type": "value", "minInterval": 1, "name": say(request, N_("单/分钟"))},
        "series": [{"type": "bar", "data": [count for _, count in pace.by_minute], "itemStyle": {"color": "#2fb344"}}],
    }


def live_of(app: Any) -> Live:
    """What the boards' browsers watch: anything of one sale that moves."""

    async def look(sale_id: int) -> State:
        async with app.sessions.read() as session:
            sale = await session.get(Sale, sale_id, populate_existing=True)
            items = await board.items(session, sale_id)
            money, known = await board.money(session, sale_id), await announcing.progress(session, sale_id)
            waits = await board.waiting(session, sale_id)
        state: State = {"status": sale.status.value if sale is not None else "", "waiting": sum(waits.values())}
        state["items"] = [[one.held, one.sold] for one in items]
        state["money"] = [money.paid, money.released]
        state["groups"] = [[one.status.value, one.reminders] for one in known.groups] if known is not None else []
        return state

    return Live(look)
