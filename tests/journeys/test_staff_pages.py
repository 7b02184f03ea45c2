"""Every page of the staff's browser in Chromium: readable by everybody, nothing from another host, both widths."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, async_playwright

from bot.web.console import every
from bot.web.screens import COOKIE
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.sight import Role
from tests.bot.web.staffroom import Browser, Staffroom, open_staffroom
from tests.bot.web.test_desk_pages import DESK, called
from tests.bot.web.test_knowledge_pages import FREE
from tests.bot.web.test_member_pages import member
from tests.bot.web.test_staff_door import PART
from tests.browser import CHROMIUM, FLAGS

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed"),
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),  # the pages are the same over both
]
BAD = {"serious", "critical"}


@pytest.fixture
async def shop(sessions: Sessions, clock: FrozenClock, tmp_path: Path) -> AsyncIterator[tuple[Staffroom, Browser]]:
    """A shop with something on its pages."""
    async with open_staffroom(sessions, clock, tmp_path) as room:
        room.house.app.handoff = DESK
        owner = await room.enter(Role.OWNER, userid="adou")
        await member(room, "布偶", spent=(12_800, 5_900))
        ticket = await called(room)
        await owner.post(f"/desk/tickets/{ticket}/take")
        await owner.post("/desk/canned", {"code": "hi", "title": "您好", "text": "您好"})
        await owner.post("/console/knowledge", {**FREE, "key": "1", "publish": "1"})
        segment = '{"is": "all", "of": [{"is": "ordered", "count": {"least": 1}}]}'
        await owner.post("/console/segments", {"name": "买过的", "definition": segment})
        yield room, owner


async def pages(owner: Browser) -> list[str]:
    """Every address that is a page: path parts are filled with 1; what is not there with it is left out."""
    found = []
    for screens in every.ALL:
        for route in screens.routes():
            path = re.sub(PART, lambda part: part[1] or "1", route.path)
            if route.method != "GET" or path.endswith("/live"):
                continue
            answer = await owner.get(path)
            kind = answer.content_type
            if answer.status == 200 and kind == "text/html" and "<html" in await answer.text():
                found.append(path)
            answer.close()
    return found


@pytest.mark.timeout(400)
async def test_every_page_can_be_used_by_everybody(shop: tuple[Staffroom, Browser]) -> None:
    room, owner = shop
    base, wrong = str(room.server.make_url("")).rstrip("/"), list[str]()
    async with async_playwright() as driver:
        chromium = await driver.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS])
        context = await chromium.new_context(viewport={"width": 1280, "height": 800}, locale="zh-CN")
        token = next(one.value for one in owner.client.session.cookie_jar if one.key == COOKIE)
        await context.add_cookies([{"name": COOKIE, "value": token, "url": base}])
        page = await context.new_page()
        page.on("request", lambda one: wrong.append(f"asks {one.url}") if not _ours(one.url, base) else None)
        page.on("pageerror", lambda error: wrong.append(f"{page.url}: {error}"))
        page.on("console", lambda one: wrong.append(f"{page.url}: {one.text}") if one.type == "error" else None)
        seen = await pages(owner)
        for path in ["/sign-in", *seen]:
            await page.goto(base + path)
            wrong += await _faults(page, path)
        await page.set_viewport_size({"width": 390, "height": 844})
        for path in seen:  # on a phone nothing sticks out to the side
            await page.goto(base + path)
            if await page.evaluate("document.documentElement.scrollWidth > window.innerWidth + 2"):
                wrong.append(f"{path}: wider than a phone")
        await chromium.close()
    assert not wrong, "\n".join(wrong)
    assert len(seen) > 15


def _ours(url: str, base: str) -> bool:
    return url.startswith((base, "data:", "blob:"))


async def _faults(page: Page, path: str) -> list[str]:
    found: dict[str, Any] = (await Axe().run(page)).response
    return [
        f"{path}: {one['id']} ({one['impact']}): {one['help']}; {one['nodes'][0]['html'][:160]}"
        for one in found["violations"]
        if one["impact"] in BAD
    ]
