"""The simulator's pages: served whole, from here alone, and writing what people typed as text."""

import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestClient, TestServer
from playwright.async_api import Browser, Locator, Page, async_playwright
from pytest_aiohttp.plugin import AiohttpClient
from yarl import URL

from bot.simulator.pages import HERE, PAGES, STATIC_FILES, add_pages
from bot.simulator.server import create_app
from bot.simulator.simulator import Simulator
from tests.browser import CHROMIUM, FLAGS

OURS = [path for name, path in STATIC_FILES.items() if not name.startswith("vendor/")]
SCRIPTS = [path for path in OURS if path.suffix == ".js"]
MARKUP_NAME = "<img src=x onerror=document.title='hit'>王"
MARKUP_TEXT = "<script>document.title='hit'</script><b>粗</b>"

Client = TestClient[web.Request, web.Application]


@pytest.fixture
async def client(aiohttp_client: AiohttpClient) -> Client:
    app = web.Application()
    add_pages(app)
    served: Client = await aiohttp_client(app)
    return served


@pytest.mark.parametrize("address", PAGES)
async def test_a_page_is_chinese_html_that_may_load_nothing_from_elsewhere(client: Client, address: str) -> None:
    answer = await client.get(address)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
    assert '<html lang="zh-CN">' in await answer.text()


@pytest.mark.parametrize("address", PAGES)
async def test_all_that_a_page_loads_is_there_with_its_type(client: Client, address: str) -> None:
    waiting = set(re.findall(r'(?:href|src)="(/sim/static/[^"]+)"', await (await client.get(address)).text()))
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        seen.add(name)
        answer = await client.get(name)
        assert answer.status == 200, name
        expected = "text/javascript" if name.endswith(".js") else "text/css"
        assert answer.headers["Content-Type"] == f"{expected}; charset=utf-8"
        if name.endswith(".js"):
            waiting |= {answer.url.join(URL(link)).path for link in imports_of(await answer.text())} - seen
    assert len(seen) > 5


@pytest.mark.parametrize("name", ["../pages.py", "%2e%2e/pages.py", "..%2fpages.py", "js", "js/nothing.js"])
async def test_only_listed_files_are_served(client: Client, name: str) -> None:
    assert (await client.get(f"/sim/static/{name}")).status == 404


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_imports_only_its_neighbours_and_never_writes_markup(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert all(link.startswith(("./", "../")) for link in imports_of(source))
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", source)


def test_pages_and_styles_name_no_address_outside() -> None:
    sources = [*(HERE / "templates").glob("*.html"), *(path for path in OURS if path.suffix == ".css")]
    assert not [path.name for path in sources if re.search(r"https?://|url\(", path.read_text(encoding="utf-8"))]


def test_every_vendored_file_is_named_with_version_and_licence() -> None:
    note = STATIC_FILES["VENDORED.md"].read_text(encoding="utf-8")
    assert not [name for name in STATIC_FILES if name.startswith("vendor/") and name not in note]


def imports_of(source: str) -> list[str]:
    return [link.rstrip("\"'") for link in re.findall(r"""from\s+["']([^"']+)["']""", source)]


# in a browser


@dataclass(frozen=True)
class Town:
    """A simulator over HTTP with one customer, one employee, one kf account and one app; `call` is the vendor's API."""

    simulator: Simulator
    origin: str
    http: ClientSession

    async def call(self, path: str, **body: Any) -> dict[str, Any]:
        login = f"{self.origin}/cgi-bin/gettoken?corpid={self.simulator.world.corp.corpid}&corpsecret=secret"
        async with self.http.get(login) as answer:
            token = (await answer.json())["access_token"]
        spoken = json.dumps(body, ensure_ascii=False).encode()
        async with self.http.post(f"{self.origin}/cgi-bin/{path}?access_token={token}", data=spoken) as answer:
            told: dict[str, Any] = await answer.json()
        assert told["errcode"] == 0, told
        return told


@pytest.fixture
async def town() -> AsyncIterator[Town]:
    simulator = Simulator()
    world = simulator.world
    world.register_app(1000002, "私域助手", "secret")
    world.add_staff("xiaomei", "王小美")
    world.add_kf_account("小店客服", "wk1", ["xiaomei"])
    world.add_customer(MARKUP_NAME, "wm1")
    world.add_contact("xiaomei", "wm1")
    async with TestServer(create_app(simulator)) as server, ClientSession() as http:
        yield Town(simulator, f"http://{server.host}:{server.port}", http)


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    if not CHROMIUM:
        pytest.skip("Chromium is not installed")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        await browser.close()


@pytest.fixture
async def page(browser: Browser) -> Page:
    return await new_page(browser)


async def new_page(browser: Browser) -> Page:
    page = await browser.new_page()
    page.set_default_timeout(15_000)
    return page


def sent(page: Page) -> Locator:
    """What this phone's owner sent and the simulator has taken."""
    return page.locator("[data-test=bubble][data-from=customer]:not([data-seq='0'])")


@pytest.mark.browser
async def test_names_and_messages_with_markup_are_shown_as_they_were_typed(town: Town, page: Page) -> None:
    await page.goto(f"{town.origin}/phone")
    assert MARKUP_NAME in await page.locator("[data-test=customer]").inner_text()

    await page.goto(f"{town.origin}/phone?as=wm1&chat=wk1")
    await page.fill("[data-test=composer]", MARKUP_TEXT)
    await page.keyboard.press("Enter")
    assert await sent(page).inner_text() == MARKUP_TEXT
    assert await page.title() != "hit"


@pytest.mark.browser
async def test_a_message_that_cannot_leave_is_marked_and_a_tap_sends_it_again(town: Town, page: Page) -> None:
    await page.goto(f"{town.origin}/phone?as=wm1&chat=wk1")
    sends = f"{town.origin}/sim/phone/wm1/chats/wk1/messages"
    await page.locator("[data-test=composer]").wait_for()
    await page.route(sends, lambda route: route.abort())
    await page.fill("[data-test=composer]", "有人吗")
    await page.keyboard.press("Enter")
    retry = page.locator("[data-test=retry]")
    await retry.wait_for()

    await page.unroute(sends)
    await retry.click()
    await sent(page).wait_for()
    assert await retry.count() == 0
    assert await page.locator("[data-test=bubble]").count() == 1


@pytest.mark.browser
async def test_the_bots_menu_arrives_by_itself_and_a_tapped_line_is_said_with_its_id(town: Town, page: Page) -> None:
    await page.goto(f"{town.origin}/phone?as=wm1&chat=wk1")
    await page.fill("[data-test=composer]", "你好")
    await page.keyboard.press("Enter")
    await sent(page).wait_for()

    menu = {"head_content": "想问什么？", "list": [{"type": "click", "click": {"id": "7", "content": "几点发货"}}]}
    await town.call("kf/send_msg", touser="wm1", open_kfid="wk1", msgtype="msgmenu", msgmenu=menu)
    await page.click("[data-test=menu-item]")
    await sent(page).nth(1).wait_for()
    heard = await town.call("kf/sync_msg", open_kfid="wk1")
    assert heard["msg_list"][-1]["text"] == {"content": "几点发货", "menu_id": "7"}


@pytest.mark.browser
async def test_a_broadcast_reaches_the_phone_only_when_the_employee_sends_it(town: Town, browser: Browser) -> None:
    phone, client = await new_page(browser), await new_page(browser)
    await phone.goto(f"{town.origin}/phone?as=wm1&chat=xiaomei")
    await client.goto(f"{town.origin}/staff?as=xiaomei&in=tasks")
    await town.call(
        "externalcontact/add_msg_template",
        chat_type="single",
        external_userid=["wm1"],
        sender="xiaomei",
        text={"content": "今晚八点，冻干秒杀"},
    )
    await client.click("[data-test=task]")
    await client.locator("[data-test=task-preview]").wait_for()
    assert await phone.locator("[data-test=bubble][data-from=staff]").count() == 0

    await client.click("[data-test=send-task]")
    await client.click("[data-test=yes]")
    assert await phone.locator("[data-test=bubble][data-from=staff]").inner_text() == "今晚八点，冻干秒杀"
    assert "已发给 1 位客户" in await client.locator("[data-test=task-result]").inner_text()


@pytest.mark.browser
async def test_an_employee_takes_a_customer_from_the_queue_and_answers(town: Town, browser: Browser) -> None:
    phone, client = await new_page(browser), await new_page(browser)
    await client.goto(f"{town.origin}/staff?as=xiaomei&in=sessions")
    await phone.goto(f"{town.origin}/phone?as=wm1&chat=wk1")
    await phone.fill("[data-test=composer]", "我要人工")
    await phone.keyboard.press("Enter")
    await sent(phone).wait_for()
    await town.call("kf/service_state/trans", open_kfid="wk1", external_userid="wm1", service_state=2)

    await client.click("[data-test=queued]")
    await client.click("[data-test=accept]")
    await client.fill("[data-test=composer]", "你好，我是小美")
    await client.keyboard.press("Enter")
    assert await phone.locator("[data-test=bubble][data-from=staff]").inner_text() == "你好，我是小美"
    await phone.locator("[data-test=kf-state]", has_text="人工接待中：王小美").wait_for()
