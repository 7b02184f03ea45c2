"""A payment whose notice got lost: the bills tell of it, over HTTP; and money that staff collected for a claim."""

import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest

from bot.flashsale import bills
from bot.settings import BillsSettings
from tests.journeys.test_sale_pages import at, field, follower, open_sale, page, phone, statuses
from tests.town import SERVICER, Town, town

POLL = timedelta(minutes=2)


@pytest.fixture
async def shop(database_url: str, tmp_path: Path) -> AsyncIterator[Town]:
    async with town(database_url, tmp_path, bills=BillsSettings(poll=POLL)) as opened:
        yield opened


async def claimed(http: aiohttp.ClientSession, shop: Town, code: str) -> str:
    """The page of a claim made on the sale's page."""
    url = at(shop, f"/h5/sales/{code}")
    html = await page(http, url)
    form = {name: field(html, name) for name in ("token", "key", "item")}
    async with http.post(f"{url}/claim", data=form) as answer:
        assert answer.status == 200
        return await answer.text()


async def polled(shop: Town) -> None:
    asked = shop.calls("/cgi-bin/externalpay/get_bill_list")
    shop.simulator.advance(POLL.total_seconds() + 1)
    shop.service.app.peers.tap("bills")
    await shop.until(lambda: shop.calls("/cgi-bin/externalpay/get_bill_list") > asked)


async def until_sold(shop: Town, sale, sold: int) -> None:
    for _ in range(200):
        if (await statuses(shop, sale))[1] == sold:
            return
        await shop.quiet(0.05)
    raise AssertionError(await statuses(shop, sale))


async def test_a_lost_notice_and_money_in_the_chat(shop: Town) -> None:
    sale = await open_sale(shop, stock=3)
    chen, lin = follower(shop, "陈晓"), follower(shop, "林立")
    async with phone(shop, chen) as http:
        html = await claimed(http, shop, sale.code)
        till = re.search(r'href="(http://[^"]+/pay\?[^"]+)"', html)
        assert till is not None
        html = await page(http, till[1].replace("&amp;", "&"))
        form = {name: field(html, name) for name in ("no", "fen", "back")}
        async with http.post(f"{shop.origin}/pay", data={**form, "lost": "1"}) as answer:
            assert "请付款" in await answer.text()  # the money is gone, and we do not know
        await polled(shop)
        await until_sold(shop, sale, 1)
        assert "已付款" in await page(http, at(shop, "/h5/claims"))
    async with phone(shop, lin) as http:
        await claimed(http, shop, sale.code)
        collect = {"userid": SERVICER, "customer": lin}
        async with http.post(f"{shop.origin}/sim/bills", json={**collect, "fee": 1990}) as answer:
            assert answer.status == 200
        async with http.post(f"{shop.origin}/sim/bills", json={**collect, "fee": 880}) as answer:
            assert answer.status == 200
    await polled(shop)
    await until_sold(shop, sale, 2)
    await polled(shop)
    async with shop.service.app.sessions.read() as session:
        (stray,) = await bills.strays(session)
    assert (stray.paid_fen, stray.external_userid, stray.payee) == (880, lin, SERVICER)
    assert await statuses(shop, sale) == (0, 2)
