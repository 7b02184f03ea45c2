"""The staff's pages over 100,000 members on SQLite: how long a manager waits, beside the server's emptiest answer."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import aiohttp
from aiohttp import web
from yarl import URL

from benchmarks.crm_card import load_more
from benchmarks.crm_segments import NOW, Shop, Size, load
from benchmarks.ground import database, shop
from benchmarks.report import Report, Row, command, median, percentile, say
from bot.access import accounts, sign_ins
from bot.app import App
from bot.flashsale.allocator import Allocator
from bot.web.console import every
from bot.web.house import House
from bot.web.screens import COOKIE
from bot.web.server import create_app
from bot.wecom.client import WecomClient
from crm.base.clock import FrozenClock
from crm.base.db import open_sessions
from crm.base.peers import Peers
from crm.sight import Role

FULL, QUICK = Size(100_000, 200_000, 40), Size(5_000, 10_000, 5)
EMPTY = "/healthz"


def measure(quick: bool, size: Size | None = None) -> Report:
    size = size or (QUICK if quick else FULL)
    with database("SQLite") as url:
        path = Path(url.removeprefix("sqlite+aiosqlite:///"))
        say(f"pages: {size.members:,} members, {size.orders:,} orders …")
        load(path, Shop(size))
        load_more(path, size)
        return Report("pages", asyncio.run(_pages(url, size)))


async def _pages(url: str, size: Size) -> list[Row]:
    rows: list[Row] = []
    async with _served(url) as (http, base):
        limit = percentile(await _times(http, base + EMPTY, size.rounds), 95)
        for path in await _listed(http, base):
            times = await _times(http, base + path, size.rounds)
            rows.append(Row(f"{path} p95", "ms", percentile(times, 95), limit, {"p50": median(times)}))
    rows.sort(key=lambda row: -row.ours)
    return rows


async def _listed(http: aiohttp.ClientSession, base: str) -> list[str]:
    """Every page whose address has no parts to fill, and a member's card."""
    plain = [
        route.path
        for screens in every.ALL
        for route in screens.routes()
        if route.method == "GET" and "{" not in route.path and not route.path.endswith("/live")
    ]
    found = []
    for path in [*plain, "/console/members?q=1", "/console/members/77"]:
        async with http.get(base + path, allow_redirects=False) as answer:
            if answer.status == 200 and answer.content_type == "text/html":
                found.append(path)
    return found


async def _times(http: aiohttp.ClientSession, url: str, rounds: int) -> list[float]:
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        async with http.get(url) as answer:
            await answer.read()
            assert answer.status == 200, (url, answer.status)
        taken.append((time.perf_counter() - began) * 1e3)
    return taken


@asynccontextmanager
async def _served(url: str) -> AsyncIterator[tuple[aiohttp.ClientSession, str]]:
    """The pages on a port of their own, and a browser that is signed in as the owner."""
    clock, chance, sessions = FrozenClock(NOW), random.Random(7), open_sessions(url)
    app = App(clock=clock, chance=chance, sessions=sessions, peers=Peers(sessions, chance=chance))
    allocator = Allocator(sessions, clock)
    await allocator.start()
    house = House(app, shop(url), cast(WecomClient, None), allocator, None)
    runner = web.AppRunner(create_app(app, [], house), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    async with sessions.begin() as session:
        owner = await accounts.make(session, "owner", role=Role.OWNER, now=clock.now())
        token = await sign_ins.begin(session, owner, address="", browser="", now=clock.now())
    jar = aiohttp.CookieJar(unsafe=True)
    base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    jar.update_cookies({COOKIE: token}, URL(base))
    try:
        async with aiohttp.ClientSession(cookie_jar=jar) as http:
            yield http, base
    finally:
        await runner.cleanup()
        await allocator.stop()
        await sessions.close()


if __name__ == "__main__":
    command(measure, __doc__ or "")
