"""The API on a port of its own, in a thread of its own, for callers that know nothing of our event loop."""

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

from aiohttp import web

from bot.app import App
from bot.web.api import Api
from bot.web.api_access import Access
from bot.web.api_call import Call
from bot.web.server import create_app
from crm.base.clock import FrozenClock
from crm.base.db import Sessions, open_sessions
from crm.base.peers import Peers
from tests.factories import Make

KEY = "test-api-key-of-the-shop"


@asynccontextmanager
async def serving(sessions: Sessions, clock: FrozenClock, calls: Sequence[Call]) -> AsyncIterator[str]:
    """Yields the address it listens on."""
    chance = random.Random(7)
    app = App(clock=clock, chance=chance, sessions=sessions, peers=Peers(sessions, chance=chance))
    api = Api(calls, sessions, clock, Access(sessions, clock, keys={"shop": KEY}))
    runner = web.AppRunner(create_app(app, api.routes()), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@contextmanager
def in_a_thread(database_url: str, calls: Sequence[Call]) -> Iterator[str]:
    """The same for a test without a loop; the database has one member and one order."""
    address: list[str] = []
    is_up, over = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def run() -> None:
        sessions, clock = open_sessions(database_url), FrozenClock()
        try:
            make = Make(sessions, clock, random.Random(7))
            await make.order(await make.member(external_userid="wmAAAABBBBCCCC"), external_no="A20260308-1")
            async with serving(sessions, clock, calls) as origin:
                address.append(origin)
                is_up.set()
                await over.wait()
        finally:
            await sessions.close()

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()), daemon=True)
    thread.start()
    assert is_up.wait(timeout=20)
    try:
        yield address[0]
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(timeout=20)
        loop.close()
