"""A sale on a member's phone, over HTTP: signed in by WeCom, claimed once, paid, and nobody else's business."""

import asyncio
import random
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest
from playwright.async_api import async_playwright, expect

from bot.flashsale import board, sales
from bot.flashsale.sales import ItemPlan, Plan
from bot.models.sale import Sale
from tests.browser import CHROMIUM, FLAGS
from tests.journeys.test_demo import no_failures
from tests.town import SERVICER, Town, town

JSON = {"Accept": "application/json"}


async def open_sale(shop: Town, *, stock: int = 2, opens_in: timedelta = timedelta(0)) -> Sale:
    now = shop.clock.now()
    cake = ItemPlan(
        code="A1", sku="FD-500", name="冻干鸡胸肉 500g", price_fen=1990, list_price_fen=5990, stock=stock, limit_each=2
    )
    plan = Plan(name="周四秒杀", opens_at=now + opens_in, closes_at=now + timedelta(hours=2), items=[cake])
    async with shop.service.app.sessions.begin() as session:
        sale = await sales.plan(session, plan, now=now, chance=random.Random(3))
        await sales.announce(session, sale.id)
    return sale


def follower(shop: Town, name: str) -> str:
    """A customer whom somebody of the staff has in their contacts: WeCom names only those to a page."""
    customer = shop.customer(name)
    shop.simulator.world.contacts.add(SERVICER, customer)
    return customer


@asynccontextmanager
async def phone(shop: Town, customer: str) -> AsyncIterator[aiohttp.ClientSession]:
    """WeChat's browser on a customer's phone."""
    jar = aiohttp.CookieJar(unsafe=True)
    jar.update_cookies({"wecom_simulator_visitor": f"customer:{customer}"}, aiohttp.client.URL("http://127.0.0.1"))
    async with aiohttp.ClientSession(cookie_jar=jar) as http:
        yield http


async def page(http: aiohttp.ClientSession, url: str) -> str:
    async with http.get(url) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.text()


def field(html: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]+)"', html)
    assert found is not None, html
    return found[1]


@pytest.fixture
async def shop(database_url: str, tmp_path: Path) -> AsyncIterator[Town]:
    async with town(database_url, tmp_path) as opened:
        yield opened


def at(shop: Town, path: str) -> str:
    return f"http://127.0.0.1:{shop.service.port}{path}"


async def statuses(shop: Town, sale: Sale) -> tuple[int, int]:
    """held and sold of the one item."""
    async with shop.service.app.sessions.read() as session:
        assert await board.mismatches(session) == []
        (item,) = await board.items(session, sale.id)
    return item.held, item.sold


async def test_claimed_without_scripts_paid_at_the_till_and_an_order(shop: Town) -> None:
    sale = await open_sale(shop)
    async with phone(shop, follower(shop, "陈晓")) as http:
        html = await page(http, at(shop, f"/h5/sales/{sale.code}"))
        form = {name: field(html, name) for name in ("token", "key", "item")}
        async with http.post(at(shop, f"/h5/sales/{sale.code}/claim"), data={**form, "quantity": "2"}) as answer:
            claimed = await answer.text()
            assert answer.status == 200 and "抢到了，请付款" in claimed
        async with http.post(at(shop, f"/h5/sales/{sale.code}/claim"), data={**form, "quantity": "2"}) as answer:
            assert "抢到了，请付款" in await answer.text()  # the same request is the same claim
        assert await statuses(shop, sale) == (2, 0)
        till = re.search(r'href="(http://[^"]+/pay\?[^"]+)"', claimed)
        assert till is not None
        html = await page(http, till[1].replace("&amp;", "&"))
        form = {name: field(html, name) for name in ("no", "fen", "back")}
        async with http.post(f"{shop.origin}/pay", data=form) as answer:
            assert "已付款" in await answer.text()
        assert await statuses(shop, sale) == (0, 2)
        assert "已付款" in await page(http, at(shop, "/h5/claims"))


async def test_nobody_claims_or_looks_for_somebody_else(shop: Town) -> None:
    sale = await open_sale(shop)
    url = at(shop, f"/h5/sales/{sale.code}")
    async with phone(shop, follower(shop, "陈晓")) as chen, phone(shop, follower(shop, "林立")) as lin:
        form = {name: field(await page(chen, url), name) for name in ("token", "key", "item")}
        await page(lin, url)
        async with lin.post(f"{url}/claim", data=form, headers=JSON) as answer:
            assert (answer.status, (await answer.json())["code"]) == (403, "visitor.form_expired")
        async with aiohttp.ClientSession() as nobody, nobody.post(f"{url}/claim", data=form, headers=JSON) as answer:
            assert answer.status == 403
        async with chen.post(f"{url}/claim", data=form, headers=JSON) as answer:
            told = await answer.json()
            assert told["ok"]
        async with lin.get(at(shop, told["to"])) as answer:
            assert answer.status == 404
    assert await statuses(shop, sale) == (1, 0)


async def test_only_the_phone_may_frame_a_page(shop: Town) -> None:
    async with aiohttp.ClientSession() as http, http.get(at(shop, "/h5")) as answer:
        assert f"frame-ancestors {shop.origin}" in answer.headers["Content-Security-Policy"]


async def test_who_is_no_customer_reads_why(shop: Town) -> None:
    sale = await open_sale(shop)
    stranger = shop.customer("路人")  # nobody's contact
    async with phone(shop, stranger) as http, http.get(at(shop, f"/h5/sales/{sale.code}")) as answer:
        assert answer.status == 403
        assert "请先添加我们的员工为好友" in await answer.text()


async def test_refusals_are_words_and_a_fast_finger_is_slowed_down(shop: Town) -> None:
    sale = await open_sale(shop, opens_in=timedelta(minutes=1))
    url = at(shop, f"/h5/sales/{sale.code}")
    async with phone(shop, follower(shop, "陈晓")) as http:
        html = await page(http, url)
        assert "开抢" in html
        form = {name: field(html, name) for name in ("token", "key", "item")}
        for wrong, code in (
            ({}, "sale.not_open"),
            ({"item": "Z9"}, "sale.item_not_found"),
            ({"quantity": "-1"}, "sale.quantity_invalid"),
            ({"quantity": "一"}, "sale.quantity_invalid"),
            ({"token": ""}, "visitor.form_expired"),
        ):
            async with http.post(f"{url}/claim", data={**form, **wrong}, headers=JSON) as answer:
                told = await answer.json()
                assert (told["ok"], told["code"]) == (False, code)
                assert told["said"]
        seen = set()
        for _ in range(25):
            async with http.post(f"{url}/claim", data=form, headers=JSON) as answer:
                seen.add(answer.status)
        assert 429 in seen
        async with http.get(at(shop, "/h5/sales/NOTHING9")) as answer:
            assert answer.status == 404 and "没有找到" in await answer.text()


async def test_stock_moves_on_every_screen(shop: Town) -> None:
    sale = await open_sale(shop, stock=2)
    url = at(shop, f"/h5/sales/{sale.code}")
    async with phone(shop, follower(shop, "陈晓")) as chen, phone(shop, follower(shop, "林立")) as lin:
        form = {name: field(await page(chen, url), name) for name in ("token", "key", "item")}
        await page(lin, url)
        async with lin.get(f"{url}/live") as stream, asyncio.timeout(15):
            async for line in stream.content:
                if line.startswith(b"data:") and b'"left":2' in line:
                    async with chen.post(f"{url}/claim", data=form, headers=JSON) as answer:
                        assert answer.status == 200
                if line.startswith(b"data:") and b'"left":1' in line:
                    break


@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine")
async def test_a_sale_on_a_phone(shop: Town) -> None:
    sale = await open_sale(shop, stock=1, opens_in=timedelta(seconds=30))
    first, second = follower(shop, "陈晓"), follower(shop, "林立")
    async with async_playwright() as driver:
        driver.selectors.set_test_id_attribute("data-test")
        browser = await driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        screens = []
        for customer in (first, second):
            context = await browser.new_context(viewport={"width": 390, "height": 844})
            screen = await context.new_page()
            await screen.goto(f"{shop.origin}/sim/phone/{customer}/open?url={at(shop, f'/h5/sales/{sale.code}')}")
            screens.append(screen)
        one, other = screens
        with no_failures(one), no_failures(other):
            button = one.get_by_test_id("claim-A1").locator("button")
            await expect(button).to_be_disabled()
            shop.simulator.advance(30)
            await one.reload()
            await button.click()
            await expect(one.get_by_test_id("state")).to_have_text("抢到了，请付款", timeout=15_000)
            await other.reload()
            await other.get_by_test_id("wait-A1").locator("button").click()
            await expect(other.get_by_test_id("said")).to_contain_text("第 1 位")
            await one.get_by_test_id("pay").click()
            await one.get_by_test_id("pay").click()
            await expect(one.get_by_test_id("state")).to_have_text("已付款", timeout=15_000)
        await browser.close()
    assert await statuses(shop, sale) == (0, 1)
