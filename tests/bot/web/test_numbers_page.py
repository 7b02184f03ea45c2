"""The weekly review: each figure against rows counted by hand, files people can open, periods that cannot be meant."""

import io
from datetime import date, timedelta

import openpyxl
import pytest

from crm import reports
from crm.base.clock import local_day
from crm.sight import Role
from tests.bot.web.staffroom import Staffroom
from tests.bot.web.test_member_pages import member


async def test_the_trade_figures_are_what_the_rows_say(staffroom: Staffroom) -> None:
    await member(staffroom, "布偶", spent=(10_000, 20_000))  # a day and two days ago
    await member(staffroom, "英短", spent=(5_000,))
    today = local_day(staffroom.house.app.clock.now())
    async with staffroom.house.app.sessions.read() as session:
        last = await reports.trade(session, since_on=today - timedelta(days=1), until_on=today)
        both = await reports.trade(session, since_on=today - timedelta(days=7), until_on=today)
        none = await reports.trade(session, since_on=date(2020, 1, 1), until_on=date(2020, 2, 1))
    assert (last.orders, last.buyers, last.net_fen, last.repeat, last.newcomers) == (2, 2, 15_000, 0.5, 1)
    assert (both.orders, both.buyers, both.average_fen, both.repeat, both.newcomers) == (3, 2, 11_666, 0.5, 2)
    assert (none.orders, none.average_fen, none.repeat) == (0, None, None)


async def test_the_page_shows_them_and_the_files_open(staffroom: Staffroom) -> None:
    await member(staffroom, "=cmd", spent=(12_345,))
    manager = await staffroom.enter(Role.MANAGER)
    page = await manager.text("/console/numbers")
    assert "¥123.45" in page and "复购率" in page
    for table in ("days", "staff", "channel", "group", "orders"):
        assert (await manager.get(f"/console/numbers/{table}.csv")).status == 200
    text = (await (await manager.get("/console/numbers/days.csv")).read()).decode("utf-8-sig")
    assert text.splitlines()[0] == "日期,订单,净额（元）" and text.splitlines()[1].endswith(",1,123.45")
    book = openpyxl.load_workbook(io.BytesIO(await (await manager.get("/console/numbers/orders.xlsx")).read()))
    rows = list(book.active.values) if book.active is not None else []
    assert len(rows) == 2 and rows[1][5] == 123.45
    assert "¥0" in await manager.text("/console/numbers?from=2020-01-01&to=2020-01-31")


@pytest.mark.parametrize("query", ["from=x", "from=2026-03-09&to=2026-03-01", "from=2020-01-01&to=2026-01-01"])
async def test_a_period_that_cannot_be_meant_is_refused_in_words(staffroom: Staffroom, query: str) -> None:
    manager = await staffroom.enter(Role.MANAGER)
    answer = await manager.get(f"/console/numbers?{query}")
    assert answer.status == 422 and "400 天" in await answer.text()
    assert (await manager.get("/console/numbers/nothing.csv")).status == 404
