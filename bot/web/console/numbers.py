"""The weekly review: what the shop sold, who came back, how well people and the bot answered; down to the rows."""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import openpyxl
from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncSession

from bot import reports as edge
from bot import sale_reports
from bot.access.rights import Right
from bot.web.kept import KEPT
from bot.web.language import N_
from bot.web.names import STAGES
from bot.web.screens import HEADERS, Screens, change, house_of, looking, render, say
from crm import reports
from crm.base.clock import day_start, local_day
from crm.base.errors import Invalid, NotFound

SCREENS = Screens()
PATH = "/console/numbers"
LONGEST = timedelta(days=400)


class PeriodInvalid(Invalid):
    """From a day to a later one, at most 400 days."""

    code = "numbers.period_invalid"


class TableNotFound(NotFound):
    """There is no such table."""

    code = "page.not_found"


@dataclass(frozen=True, slots=True)
class Period:
    """Shop-local days from `since_on` to `until_on`, which is no longer in it."""

    since_on: date
    until_on: date

    @property
    def before(self) -> "Period":
        """The period of the same length that ends where this one begins."""
        return Period(self.since_on - (self.until_on - self.since_on), self.since_on)

    @property
    def days(self) -> dict[str, date]:
        return {"since_on": self.since_on, "until_on": self.until_on}

    @property
    def instants(self) -> dict[str, datetime]:
        return {"since": day_start(self.since_on), "until": day_start(self.until_on)}


def period_of(request: web.Request) -> Period:
    """What the address asks for: seven days up to yesterday unless it says otherwise. Raises PeriodInvalid."""
    today = local_day(house_of(request).app.clock.now())
    try:
        until = date.fromisoformat(request.query["to"]) + timedelta(days=1) if request.query.get("to") else today
        since = date.fromisoformat(request.query["from"]) if request.query.get("from") else until - timedelta(days=7)
    except ValueError:
        raise PeriodInvalid from None
    if not timedelta() < until - since <= LONGEST:
        raise PeriodInvalid
    return Period(since, until)


@SCREENS.get(PATH, Right.CONSOLE)
async def numbers(request: web.Request) -> web.Response:
    period = period_of(request)
    found = await request.app[KEPT].get(("numbers", period), lambda: _read(request, period))
    return render(
        request,
        "console/numbers.html",
        **found,
        period=period,
        last_on=period.until_on - timedelta(days=1),
        presets=_presets(local_day(house_of(request).app.clock.now())),
        titles=TITLES,
        stage_order=list(STAGES),
        days_option=_line(request, period, found["by_day"]),
        funnel_option=_funnel(request, found["funnel"]),
    )


async def _read(request: web.Request, period: Period) -> dict[str, Any]:
    """All figures of a period, of one moment."""
    now = house_of(request).app.clock.now()
    async with looking(request) as session:
        return {
            "trade": await reports.trade(session, **period.days),
            "was": await reports.trade(session, **period.before.days),
            "by_day": await reports.trade_by_day(session, **period.days),
            "moved": await reports.movement(session, **period.instants),
            "handoff": await edge.handoff(session, **period.instants, now=now),
            "before": await edge.handoff(session, **period.before.instants, now=now),
            "funnel": await sale_reports.funnel(session, **period.instants),
            "tables": {name: await _rows(session, name, period) for name in ("staff", "channel", "group")},
            "headcount": await reports.headcount(session),
            "standing": await reports.stages(session),
        }


@SCREENS.get(PATH + "/{table}.{kind:csv|xlsx}", Right.CONSOLE)
async def export(request: web.Request) -> web.Response:
    """A table as a file; who took it is in the log, for rows of orders name people by their code."""
    table, kind, period = request.match_info["table"], request.match_info["kind"], period_of(request)
    if table not in TITLES:
        raise TableNotFound
    about = f"numbers:{table}"
    async with change(request, "numbers.exported", about=about, since=str(period.since_on), kind=kind) as deed:
        rows = await _rows(deed.session, table, period)
        deed.facts["rows"] = len(rows)
    heads = [say(request, head) for head in HEADS[table]]
    body, content_type = (_csv(heads, rows), "text/csv") if kind == "csv" else (_xlsx(heads, rows), XLSX)
    name = f"attachment; filename={table}-{period.since_on}-{period.until_on - timedelta(days=1)}.{kind}"
    return web.Response(body=body, content_type=content_type, headers={**HEADERS, "Content-Disposition": name})


# ---- the tables


XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
TITLES = {
    "days": N_("每天"),
    "staff": N_("按员工"),
    "channel": N_("按渠道码"),
    "group": N_("按群（秒杀）"),
    "orders": N_("订单明细"),
}
HEADS: dict[str, Sequence[str]] = {
    "days": (N_("日期"), N_("订单"), N_("净额（元）")),
    "staff": (N_("员工"), N_("买家"), N_("净额（元）")),
    "channel": (N_("渠道码"), N_("买家"), N_("净额（元）")),
    "group": (N_("群"), N_("件数"), N_("净额（元）")),
    "orders": (N_("日期"), N_("会员"), N_("来源"), N_("单号"), N_("状态"), N_("付款（元）"), N_("退款（元）")),
}


async def _rows(session: AsyncSession, table: str, period: Period) -> list[tuple[Any, ...]]:
    """Rows as people read them: money in yuan."""
    if table == "orders":
        found = await reports.orders_of(session, **period.days)
        return [(*row[:4], row[4].value, row[5] / 100, row[6] / 100) for row in found]
    if table == "group":
        return [(*row[:2], row[2] / 100) for row in await sale_reports.by_group(session, **period.instants)]
    read: dict[str, Callable[..., Any]] = {
        "days": reports.trade_by_day,
        "staff": reports.trade_by_staff,
        "channel": reports.trade_by_channel,
    }
    return [(*row[:2], row[2] / 100) for row in await read[table](session, **period.days)]


def _csv(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> bytes:
    """With a mark by which spreadsheets know that it is UTF-8."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerows([heads, *([_harmless(cell) for cell in row] for row in rows)])
    return b"\xef\xbb\xbf" + text.getvalue().encode()


def _xlsx(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> bytes:
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet()
    for row in (heads, *rows):
        sheet.append([_harmless(cell) for cell in row])
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _harmless(cell: Any) -> Any:
    """A name that begins like a formula stays a name."""
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in {"=", "+", "-", "@", "\t"} else cell


# ---- the pictures


def _presets(today: date) -> list[tuple[str, date, date]]:
    monday = today - timedelta(days=today.weekday())
    first = today.replace(day=1)
    return [
        (N_("近 7 天"), today - timedelta(days=7), today - timedelta(days=1)),
        (N_("上周"), monday - timedelta(days=7), monday - timedelta(days=1)),
        (N_("近 30 天"), today - timedelta(days=30), today - timedelta(days=1)),
        (N_("上月"), (first - timedelta(days=1)).replace(day=1), first - timedelta(days=1)),
    ]


def _line(request: web.Request, period: Period, by_day: list[tuple[date, int, int]]) -> dict[str, Any]:
    """Money as columns, orders as a line, a day without sales included."""
    known = {day: (count, fen) for day, count, fen in by_day}
    days = [period.since_on + timedelta(days=n) for n in range((period.until_on - period.since_on).days)]
    money, orders = say(request, N_("净额（元）")), say(request, N_("订单"))
    return {
        "tooltip": {"trigger": "axis"},
        "legend": {"data": [money, orders]},
        "grid": {"left": 64, "right": 48, "top": 40, "bottom": 32},
        "xAxis": {"type": "category", "data": [f"{day:%m-%d}" for day in days]},
        "yAxis": [{"type": "value"}, {"type": "value", "splitLine": {"show": False}, "minInterval": 1}],
        "series": [
            {"name": money, "type": "bar", "data": [known.get(day, (0, 0))[1] / 100 for day in days]},
            {"name": orders, "type": "line", "yAxisIndex": 1, "data": [known.get(day, (0, 0))[0] for day in days]},
        ],
        "color": ["#07a35a", "#206bc4"],
    }


def _funnel(request: web.Request, funnel: sale_reports.Funnel) -> dict[str, Any]:
    steps = [
        (say(request, N_("付了款")), funnel.paid),
        (say(request, N_("抢了秒杀")), funnel.claimed),
        (say(request, N_("找过客服")), funnel.wrote),
    ]
    return {
        "tooltip": {},
        "grid": {"left": 80, "right": 48, "top": 8, "bottom": 24},
        "xAxis": {"type": "value", "minInterval": 1},
        "yAxis": {"type": "category", "data": [name for name, _ in steps]},
        "series": [
            {
                "type": "bar",
                "data": [count for _, count in steps],
                "label": {"show": True, "position": "right"},
                "color": "#07a35a",
            }
        ],
    }
