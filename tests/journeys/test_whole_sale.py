"""A whole flash sale: told in its groups by their owners, opened on time, sold out, some unpaid, the queue served.

Read where people read it: the owner's client, the groups on the phones, the sale's page in Chromium, the manager's
terminal.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from playwright.async_api import Browser, Page, async_playwright, expect

from bot.flashsale import announce_words, announcing, board, sales
from bot.flashsale.sales import ItemPlan, Plan
from bot.models.sale import Sale, SaleStatus, Waiter, WaiterStatus
from bot.settings import GateSettings, HandoffSettings
from crm.models.group import Group
from crm.models.order import Order
from tests.browser import CHROMIUM, FLAGS
from tests.journeys.test_demo import no_failures
from tests.journeys.test_sale_pages import follower
from tests.town import SERVICER, Town, town

OTHER = "liqiang"
BOSS = "dianzhang"


@pytest.fixture
async def shop(database_url: str, tmp_path: Path) -> AsyncIterator[Town]:
    gate = GateSettings(quiet_from=None, broadcasts_per_day=2)
    async with town(database_url, tmp_path, gate=gate, handoff=HandoffSettings(supervisors=(BOSS,))) as opened:
        opened.service.app.public_url = f"http://127.0.0.1:{opened.service.port}"  # known once it listens
        opened.simulator.world.add_staff(BOSS, "店长")
        yield opened


async def until(shop: Town, read: Any, *, seconds: float = 40.0) -> Any:
    """Wait until the database says so."""
    end = asyncio.get_running_loop().time() + seconds
    while True:
        async with shop.service.app.sessions.read() as session:
            if found := await read(session):
                return found
        assert asyncio.get_running_loop().time() < end, "not in time"
        await asyncio.sleep(0.02)


async def grouped(shop: Town, owner: str, name: str, *customers: str) -> tuple[str, int]:
    """A customer group that we know by now: its chat_id, and our id of it."""
    chat_id = shop.simulator.world.groups.create(name, owner, list(customers)).chat_id
    known = sa.select(Group.id).where(Group.name == name, Group.owner_id.is_not(None))
    return chat_id, await until(shop, lambda session: session.scalar(known))


async def announced(shop: Town, group_ids: list[int]) -> Sale:
    """Two cakes for the people of these groups, in an hour."""
    app = shop.service.app
    now = app.clock.now()
    cake = ItemPlan(code="CAKE1", sku="CAKE", name="冻干蛋糕", price_fen=1990, list_price_fen=5990, stock=2)
    opens_at = now + timedelta(hours=1)
    plan = Plan(
        name="周四秒杀", opens_at=opens_at, closes_at=opens_at + timedelta(hours=2), items=[cake], group_ids=group_ids,
        recaps=True,
    )  # fmt: skip
    async with app.sessions.begin() as session:
        sale = await sales.plan(session, plan, now=now, chance=random.Random(3))
        await announcing.announce(session, sale, gate=app.gate, words=app.words, public_url=app.public_url, now=now)
    return sale


async def headline(shop: Town, sale: Sale, told: str) -> None:
    async def read(session: Any) -> bool:
        known = await announcing.progress(session, sale.id)
        return known is not None and announce_words.headline(known) == told

    await until(shop, read)


async def link_in(shop: Town, customer: str, chat_id: str) -> str:
    """The link of the announcement, as this customer reads it in the group."""

    def found() -> str:
        cards = [one["link"]["url"] for one in shop.phone(customer, chat_id) if one["msgtype"] == "link"]
        return str(cards[-1]) if cards else ""

    return str(await shop.until(found))


async def opened(shop: Town, browser: Browser, customer: str, url: str) -> Page:
    """The page on a customer's phone, by a tap on the link."""
    context = await browser.new_context(viewport={"width": 390, "height": 844})
    page = await context.new_page()
    await page.goto(f"{shop.origin}/sim/phone/{customer}/open?url={url}")
    return page


async def status(shop: Town, sale: Sale, wanted: SaleStatus) -> None:
    async def read(session: Any) -> bool:
        return (await session.get_one(Sale, sale.id)).status is wanted

    await until(shop, read)


@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine")
async def test_a_whole_sale(shop: Town) -> None:
    chen, lin, zhou = (follower(shop, name) for name in ("陈晓", "林立", "周周"))
    (cats, cats_id), (dogs, dogs_id) = (
        await grouped(shop, SERVICER, "猫咪福利群", chen, lin),
        await grouped(shop, OTHER, "狗狗福利群", zhou),
    )
    sale = await announced(shop, [cats_id, dogs_id])
    await headline(shop, sale, "0/2 个群已发")
    world = shop.simulator.world
    await shop.until(lambda: world.tasks.of_member(SERVICER) and world.tasks.of_member(OTHER))
    async with async_playwright() as driver:
        driver.selectors.set_test_id_attribute("data-test")
        browser = await driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)

        # one owner confirms in their client; the other is reminded, and the shop's manager hears who has not
        client = await browser.new_page()
        await client.goto(f"{shop.origin}/staff?as={SERVICER}&in=tasks")
        with no_failures(client):
            await client.click("[data-test=task]")
            await expect(client.get_by_test_id("task-preview")).to_contain_text("CAKE1 冻干蛋糕")
            await client.click("[data-test=send-task]")
            await client.click("[data-test=yes]")
            await expect(client.get_by_test_id("task-result")).to_contain_text("已发给 1 个群")
        shop.clock.advance(minutes=31)
        await headline(shop, sale, "1/2 个群已发")
        await shop.until(lambda: world.tasks.of_member(OTHER)[0].reminded_at, seconds=40)

        # the page counts down, and opens on time
        one, other = [await opened(shop, browser, who, await link_in(shop, who, cats)) for who in (chen, lin)]
        with no_failures(one), no_failures(other):
            await expect(one.get_by_test_id("claim-CAKE1").locator("button")).to_be_disabled()
            shop.simulator.advance(29 * 60 + 1)
            await status(shop, sale, SaleStatus.OPEN)
            await shop.until(lambda: "还没发的：狗狗福利群" in str(world.notices.of_member(BOSS)), seconds=40)
            world.tasks.send(OTHER, world.tasks.of_member(OTHER)[0].msgid)
            third = await opened(shop, browser, zhou, await link_in(shop, zhou, dogs))
            for page in (one, other):
                await page.reload()
                await page.get_by_test_id("claim-CAKE1").locator("button").click()
                await expect(page.get_by_test_id("state")).to_have_text("抢到了，请付款", timeout=15_000)

            # sold out: who comes later waits; one pays, one does not, and the waiting one gets what came back
            await third.reload()
            await third.get_by_test_id("wait-CAKE1").locator("button").click()
            await expect(third.get_by_test_id("said")).to_contain_text("第 1 位")
            await one.get_by_test_id("pay").click()
            await one.get_by_test_id("pay").click()
            await expect(one.get_by_test_id("state")).to_have_text("已付款", timeout=15_000)
            shop.simulator.advance(15 * 60 + 1)
            offered = sa.select(Waiter.id).where(Waiter.status == WaiterStatus.OFFERED)
            await until(shop, lambda session: session.scalar(offered))
            await other.reload()
            await expect(other.get_by_test_id("state")).to_have_text("名额已释放")
            await third.goto(f"{shop.service.app.public_url}/h5/claims")
            await third.get_by_text("冻干蛋糕").first.click()
            await third.get_by_test_id("pay").click()
            await third.get_by_test_id("pay").click()
            await expect(third.get_by_test_id("state")).to_have_text("已付款", timeout=15_000)

            # every unit is paid: settled at once, said so on the page, and each group's sales are known
            await status(shop, sale, SaleStatus.SETTLED)
            await other.goto(f"{shop.service.app.public_url}/h5/sales/{sale.code}")
            await expect(other.locator("body")).to_contain_text("结束")
        await browser.close()
    async with shop.service.app.sessions.read() as session:
        assert await board.mismatches(session) == []
        by_group = {one.group_id: (one.claimed, one.paid_fen) for one in await board.groups(session, sale.id)}
        orders = await session.scalar(sa.select(sa.func.count()).select_from(Order))
    assert by_group == {cats_id: (1, 1990), dogs_id: (1, 1990)}
    assert orders == 2
    await headline(shop, sale, "2/2 个群已发")

    # the recap is a task too, and what the groups read of it is what happened
    await shop.until(lambda: len(world.tasks.of_member(SERVICER)) == 2 and len(world.tasks.of_member(OTHER)) == 2)
    recap = world.tasks.of_member(SERVICER)[-1]
    assert recap.text == "【周四秒杀】结束了：2 位朋友抢到 2 件，全部抢光。谢谢大家，下次秒杀还在群里预告。"
