"""The API on a port of its own, in a thread of its own, for callers that know nothing of our event loop."""

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from aiohttp import web

from bot.app import App
from bot.flashsale import sales
from bot.flashsale.sales import ItemPlan, Plan
from bot.web.api import Api
from bot.web.api_access import Access
from bot.web.api_call import Call
from bot.web.server import create_app
from campaigns import definition, engine
from crm import segments
from crm.base.clock import FrozenClock
from crm.base.db import Sessions, open_sessions
from crm.base.peers import Peers
from crm.models.member import Member
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


async def settle(sessions: Sessions, clock: FrozenClock) -> None:
    """A small shop under the numbers that the description's examples name."""
    make, now = Make(sessions, clock, random.Random(7)), clock.now()
    member = await make.member(external_userid="wmAAAABBBBCCCC")
    await make.order(member, external_no="A20260308-1")
    joined: dict[str, Any] = {"is": "joined", "when": {"last_days": 30}}
    texts: list[dict[str, Any]] = [{"text": "您好"}]
    told = definition.read({"kind": "one_off", "segment": "新来的", "starts_at": "2027-01-01T10:00", "messages": texts})
    async with sessions.begin() as session:
        await session.execute(sa.update(Member).where(Member.id == member.id).values(code="K7M2QX4R"))
        await segments.save(session, "新来的", joined, now=now)
        await engine.create(session, "欢迎", told, by="boss", now=now)
        item = ItemPlan(code="A1", sku="F1", name="冻干", price_fen=100, list_price_fen=200, stock=5)
        opens = now + timedelta(hours=1)
        plan = Plan(name="周四秒杀", opens_at=opens, closes_at=opens + timedelta(hours=2), items=[item])
        sale = await sales.plan(session, plan, now=now, chance=random.Random(7))
        sale.code = "K7M2QX4R"


@contextmanager
def in_a_thread(database_url: str, calls: Sequence[Call]) -> Iterator[str]:
    """The same for a test without a loop, over a small shop."""
    address: list[str] = []
    is_up, over = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def run() -> None:
        sessions, clock = open_sessions(database_url), FrozenClock()
        try:
            await settle(sessions, clock)
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
