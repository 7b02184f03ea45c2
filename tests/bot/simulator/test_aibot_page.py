"""The staff client's page: mentioning the bot in an internal group, and reading its answer while it grows."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer

from bot.simulator.corp import CallbackTarget
from bot.simulator.server import create_app
from bot.simulator.simulator import Simulator
from tests.bot.simulator.conftest import AES_KEY, TOKEN
from tests.bot.simulator.test_aibots import BotService, bot_service, stream
from tests.bot.simulator.test_pages import Town, browser, new_page, page

__all__ = ["bot_service", "browser", "new_page", "page"]


@pytest.fixture
async def office(bot_service: BotService) -> AsyncIterator[Town]:
    simulator = Simulator()
    simulator.bot_calls.poll_seconds = 0.1
    world = simulator.world
    for userid, name in (("adou", "阿豆（客服）"), ("yuanyuan", "圆圆（社群）")):
        world.add_staff(userid, name)
    bot = world.aibots.add("毛球助手", "aib1")
    bot.callback = CallbackTarget(bot_service.url, TOKEN, AES_KEY)
    world.aibots.add_room("员工内购群", ["adou", "yuanyuan"], [bot.id], "in1")
    async with TestServer(create_app(simulator)) as server, ClientSession() as http:
        yield Town(simulator, f"http://{server.host}:{server.port}", http)


@pytest.mark.browser
async def test_the_answer_streams_into_the_group_and_can_be_rated(office, bot_service, page) -> None:
    bot_service.answers = [stream("正在查…", feedback={"id": "F1"}), *[stream("正在查…")] * 20]
    office.simulator.world.aibots.say("yuanyuan", "in1", "text", {"content": "内购价满多少包邮？"})
    await page.goto(f"{office.origin}/staff?as=adou")
    rows = page.locator("[data-test=room]")
    assert await rows.count() == 2
    assert "[内部]" in await rows.nth(0).inner_text()
    assert "[智能机器人]" in await rows.nth(1).inner_text()
    await rows.nth(0).click()
    assert "没有客户" in await page.locator(".detail-head").inner_text()
    await page.click("[data-test=mention]")
    await page.locator("[data-test=composer]").press_sequentially("满多少包邮")
    await page.keyboard.press("Enter")
    await page.locator("[data-test=stream-going]").wait_for()

    answer = "**满 88 元包邮**\n偏远地区见 [运费表](https://shop.test/ship)"
    bot_service.answers[:] = [stream(answer, finish=True)]
    done = page.locator("[data-test=stream-done]")
    await done.wait_for()
    assert await done.locator("b").inner_text() == "满 88 元包邮"
    assert await done.locator("a").get_attribute("href") == "https://shop.test/ship"
    assert bot_service.told[0]["text"]["content"] == "@毛球助手 满多少包邮"
    await page.click("[data-test=rate-1]")
    await page.locator("[data-test=rate-1][aria-pressed=true]").wait_for()
    assert bot_service.told[-1]["event"]["feedback_event"]["type"] == 1


@pytest.mark.browser
async def test_the_console_shows_where_the_bots_callbacks_go(office, bot_service, page) -> None:
    await page.goto(office.origin)
    panel = page.locator("section.panel[aria-label=智能机器人]")
    await panel.locator("details").wait_for()
    assert "员工内购群" in await panel.inner_text()
    assert bot_service.url in await panel.inner_text()
