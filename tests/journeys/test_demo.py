"""The demo as a newcomer meets it: one command, a conversation on the phone, a clean stop."""

import asyncio
import re
import signal
import socket
import sqlite3
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from playwright.async_api import Page, async_playwright, expect

from tests.browser import CHROMIUM, FLAGS

PAST = ("rfm_snapshots", "conversions", "tickets", "faq_questions", "stage_moves")


@dataclass
class Demo:
    phone: str
    simulator: str
    service: str
    process: asyncio.subprocess.Process

    async def stop(self) -> str:
        self.process.send_signal(signal.SIGINT)
        out, _ = await asyncio.wait_for(self.process.communicate(), 20)
        return out.decode()


def free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        port: int = asked.getsockname()[1]
        return port


@asynccontextmanager
async def demo(folder: Path) -> AsyncIterator[Demo]:
    port, simulator_port = free_port(), free_port()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bot", "demo", "--port", str(port), "--simulator-port", str(simulator_port)),
        *("--database", str(folder / "demo.db")),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        phone = await asyncio.wait_for(_address(process), 60)
        yield Demo(phone, f"http://127.0.0.1:{simulator_port}", f"http://127.0.0.1:{port}", process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def _address(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    said = ""
    async for line in process.stdout:
        said += line.decode()
        if found := re.search(r"http://\S+/phone\?\S+", line.decode()):
            return found.group()
    raise AssertionError(f"the demo ended without an address:\n{said}")


@contextmanager
def no_failures(page: Page) -> Iterator[None]:
    """The page logs no error while the block runs."""
    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    yield
    assert failures == []


async def get(url: str) -> Any:
    async with aiohttp.ClientSession() as http, http.get(url) as answer:
        assert answer.status == 200
        return await answer.json() if "json" in answer.content_type else await answer.text()


async def test_a_conversation_waits_on_the_phone_and_ctrl_c_stops_cleanly(tmp_path: Path) -> None:
    async with demo(tmp_path) as shop:
        who = dict(part.split("=") for part in shop.phone.split("?")[1].split("&"))
        messages = f"{shop.simulator}/sim/phone/{who['as']}/chats/{who['chat']}/messages"
        for _ in range(200):
            kinds = [one["from"]["kind"] for one in (await get(messages))["messages"]]
            if kinds == ["bot", "customer", "bot"]:
                break
            await asyncio.sleep(0.05)
        assert kinds == ["bot", "customer", "bot"]
        (room, *_) = (await get(f"{shop.simulator}/sim/bots"))["rooms"]
        said = f"{shop.simulator}/sim/staff/adou/rooms/{room['chat_id']}/messages"
        for _ in range(200):
            last = (await get(said))["messages"][-1:]
            if last and last[0].get("stream", {}).get("finish"):
                break
            await asyncio.sleep(0.05)
        assert "包邮" in last[0]["stream"]["content"], "the bot has answered in the staff's group"
        for _ in range(400):
            told = [str(card.get("content")) for card in (await get(f"{shop.simulator}/sim/staff/yuanyuan"))["cards"]]
            if any("投诉" in words for words in told):
                break
            await asyncio.sleep(0.05)
        assert any("投诉" in words for words in told), "a complaint in a group has reached its owner"
        for _ in range(400):
            mine = (await get(f"{shop.simulator}/sim/staff/yuanyuan"))["tasks"]
            tasks = [task for task in mine if task["chat_type"] == "group"]
            if sum(task["status"] == 2 for task in tasks) == 2:
                break
            await asyncio.sleep(0.05)
        assert [task["status"] for task in tasks].count(0) == 2, "two groups of the sale are left to confirm by hand"
        links = {task["attachments"][0]["link"]["url"] for task in tasks}
        assert len(links) == 4 and all("?g=" in link for link in links), "each group by its own link"
        with closing(sqlite3.connect(tmp_path / "demo.db")) as book:  # a past, nothing left open
            finished = book.execute("SELECT count(*) FROM campaigns WHERE status = 'finished'").fetchone()
            settled = book.execute("SELECT sum(held), sum(sold) > 0 FROM sale_items JOIN sales ON sales.id = sale_id "
                                   "WHERE sales.status = 'settled'").fetchone()  # fmt: skip
            counted = [book.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in PAST]
        assert finished == (3,) and settled == (0, 1) and min(counted) > 10
        for path in ("/healthz", "/readyz", "/metrics", "/"):
            assert await get(shop.service + path)
        assert "已停止" in await shop.stop()
        assert shop.process.returncode == 0


@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine")
async def test_ask_on_the_phone_and_read_the_answer(tmp_path: Path) -> None:
    async with demo(tmp_path) as shop, async_playwright() as driver:
        driver.selectors.set_test_id_attribute("data-test")
        browser = await driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = await browser.new_page(viewport={"width": 390, "height": 844})
        with no_failures(page):
            await page.goto(shop.phone)
            await page.get_by_test_id("composer").fill("请问满多少可以包邮呀")
            await page.get_by_test_id("send").click()
            answer = page.locator('[data-test="bubble"][data-from="bot"]').filter(has_text="88")
            await expect(answer).to_have_count(1, timeout=15_000)
        await browser.close()
