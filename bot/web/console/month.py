"""The monthly summary: what the campaigns of a month cost and brought, as a page and as files."""

import re
from datetime import date, timedelta

from aiohttp import web

from bot import month_words
from bot.access.rights import Right
from bot.web.screens import Screens, house_of, looking, render
from campaigns import month_reports
from crm.base.clock import local_day
from crm.base.errors import Invalid

SCREENS = Screens()
PATH = "/console/month"
FILES = {
    "xlsx": ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", month_words.as_workbook),
    "md": ("text/markdown; charset=utf-8", lambda month: month_words.as_markdown(month).encode()),
}


class MonthInvalid(Invalid):
    """A month is written 2026-10 and has begun."""

    code = "month.invalid"


@SCREENS.get(PATH, Right.CONSOLE)
async def show(request: web.Request) -> web.Response:
    """`month`: 2026-10, else the month before this; `as`: a file instead of the page."""
    today = local_day(house_of(request).app.clock.now())
    first_day = _first_day(request.query.get("month", ""), today)
    async with looking(request) as session:
        found = await month_reports.summary(session, first_day)
    if (kind := request.query.get("as", "")) in FILES:
        mime, written = FILES[kind]
        name = f"siyu-{first_day:%Y-%m}.{kind}"
        headers = {"Content-Type": mime, "Content-Disposition": f'attachment; filename="{name}"'}
        return web.Response(body=written(found), headers={**headers, "X-Content-Type-Options": "nosniff"})
    sheets = [(sheet, [list(map(month_words.shown, row)) for row in sheet.rows]) for sheet in month_words.sheets(found)]
    advice = [month_words.sentence(one) for one in found.suggestions]
    return render(
        request, "console/month.html", month=found, sheets=sheets, advice=advice, first_day=first_day,
        before=_before(first_day), next=_next(first_day, today),
    )  # fmt: skip


def _first_day(asked: str, today: date) -> date:
    if not asked:
        return _before(today)
    parts = re.fullmatch(r"(20\d\d)-(\d{1,2})", asked)
    if parts is None or not 1 <= int(parts[2]) <= 12 or date(int(parts[1]), int(parts[2]), 1) > today:
        raise MonthInvalid
    return date(int(parts[1]), int(parts[2]), 1)


def _before(day: date) -> date:
    return (day.replace(day=1) - timedelta(days=1)).replace(day=1)


def _next(day: date, today: date) -> date | None:
    following = (day + timedelta(days=32)).replace(day=1)
    return following if following <= today else None
