"""The simulator's pages: served whole, from here alone, and writing what people typed as text."""

import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from playwright.async_api import Page, async_playwright
from pytest_aiohttp.plugin import AiohttpClient
from yarl import URL

from bot.simulator.pages import HERE, PAGES, STATIC_FILES, add_pages
from bot.simulator.server import create_app
from bot.simulator.simulator import Simulator

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CHROMIUM_QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
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


@pytest.fixture
async def origin() -> AsyncIterator[str]:
    """A simulator with a customer and a kf account, over HTTP."""
    simulator = Simulator()
    simulator.world.add_staff("xiaomei", "王小美")
    simulator.world.add_kf_account("小店客服", "wk1", ["xiaomei"])
    simulator.world.add_customer(MARKUP_NAME, "wm1")
    async with TestServer(create_app(simulator)) as server:
        yield f"http://{server.host}:{server.port}"


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_QUIET)
        page = await browser.new_page()
        page.set_default_timeout(15_000)
        yield page
        await browser.close()


@pytest.mark.browser
async def test_names_and_messages_with_markup_are_shown_as_they_were_typed(origin: str, page: Page) -> None:
    await page.goto(f"{origin}/phone")
    customer = page.locator("[data-test=customer]")
    await customer.wait_for()
    assert MARKUP_NAME in await customer.inner_text()

    await page.goto(f"{origin}/phone?as=wm1&chat=wk1")
    await page.fill("[data-test=composer]", MARKUP_TEXT)
    await page.keyboard.press("Enter")
    mine = page.locator("[data-test=bubble][data-from=customer]:not([data-seq='0'])")
    await mine.wait_for()
    assert await mine.inner_text() == MARKUP_TEXT
    assert await page.title() != "hit"


@pytest.mark.browser
async def test_a_message_that_cannot_leave_is_marked_and_a_tap_sends_it_again(origin: str, page: Page) -> None:
    await page.goto(f"{origin}/phone?as=wm1&chat=wk1")
    composer = page.locator("[data-test=composer]")
    await composer.wait_for()
    sends = f"{origin}/sim/phone/wm1/chats/wk1/messages"
    await page.route(sends, lambda route: route.abort())
    await composer.fill("有人吗")
    await composer.press("Enter")
    retry = page.locator("[data-test=retry]")
    await retry.wait_for()

    await page.unroute(sends)
    await retry.click()
    await page.locator("[data-test=bubble][data-from=customer]:not([data-seq='0'])").wait_for()
    assert await retry.count() == 0
    assert await page.locator("[data-test=bubble]").count() == 1
