"""An agent in the browser: signs in by scanning, takes the ticket, answers; the customer reads it on the phone."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import async_playwright, expect

from bot.access import accounts
from bot.settings import HandoffSettings
from crm.sight import Role
from tests.browser import CHROMIUM, FLAGS
from tests.town import KF, SERVICER, Town, town

pytestmark = [pytest.mark.browser, pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed")]


@pytest.fixture
async def shop(database_url: str, tmp_path: Path) -> AsyncIterator[Town]:
    desk = HandoffSettings(desk_accounts=frozenset({KF}))
    async with town(database_url, tmp_path, handoff=desk) as opened:
        yield opened


async def test_an_agent_scans_takes_answers_notes_and_closes(shop: Town) -> None:
    app = shop.service.app
    async with app.sessions.begin() as session:
        await accounts.make(session, "mei", role=Role.AGENT, title="小美", userid=SERVICER, now=app.clock.now())
    customer = shop.customer("橘座")
    shop.says(customer, "满多少包邮")
    await shop.until(lambda: any("【包邮】" in one for one in shop.heard(customer)))
    async with async_playwright() as driver:
        chromium = await driver.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS])
        page = await chromium.new_page(locale="zh-CN", viewport={"width": 1280, "height": 800})
        await page.goto(f"http://127.0.0.1:{shop.service.port}/desk")
        await page.get_by_role("link", name="用企业微信扫码登录").click()
        await page.get_by_role("link", name="员工 王小美").click()
        await expect(page.get_by_role("heading", name="工作台")).to_be_visible()
        await expect(page.get_by_text("这里没有工单")).to_be_visible()
        shop.says(customer, "转人工")  # it appears without a reload
        await page.locator(".desk-lines").get_by_text("橘座").click(timeout=15_000)
        await expect(page.locator("#thread").get_by_text("【包邮】满 88 元包邮。")).to_be_visible()
        await page.get_by_role("button", name="接单").click()
        await expect(page.get_by_text(f"接待：{SERVICER}")).to_be_visible()
        await page.get_by_label("回复客户", exact=True).last.fill("您好，我是小美")
        await page.keyboard.press("Control+Enter")
        await shop.until(lambda: shop.heard(customer)[-1] == "您好，我是小美")
        await expect(page.locator("#thread").get_by_text("您好，我是小美")).to_be_visible()
        shop.says(customer, "谢谢")  # and so does what the customer answers
        await expect(page.locator("#thread").get_by_text("谢谢")).to_be_visible(timeout=15_000)
        page.on("dialog", lambda asked: asked.accept())
        await page.get_by_role("button", name="结束").click()
        await expect(page.get_by_text("工单已结束")).to_be_visible()
        await chromium.close()
