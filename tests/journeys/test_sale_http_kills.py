"""Two thousand phones want one article over HTTP while the service is killed hard and started again, again and again.

A phone whose line breaks sends the same form once more, as the page's script does. No "yes" that a phone has read is
lost, nobody has two, and the sums hold.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest
import sqlalchemy as sa

from bot.flashsale import board, sales
from bot.flashsale.sales import ItemPlan, Plan
from bot.models.sale import Claim, Sale, SaleItem
from bot.web.seals import Seals
from bot.web.visitors import COOKIE, STAY
from crm.base.clock import SystemClock
from crm.base.db import Sessions, insert_all
from crm.models.member import Gender, Member, MemberSource
from tests.journeys.processes import Crew, environment, free_port
from tests.town import SECRET, listening, new_simulator

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("kills"), pytest.mark.timeout(400)]

MEMBERS, STOCK, KILLS, PHONES = 2_000, 1_200, 5, 60
SECONDS = 300.0  # of a machine with other work; alone it takes a tenth of that
AGAIN_SECONDS = 0.05
FINAL = {"sale.sold_out", "sale.limit_reached"}


@dataclass
class Crowd:
    """Everybody's phone, and the book of what they read."""

    code: str
    ports: Sequence[int]
    seals: Seals
    yes: dict[int, str] = field(default_factory=dict)
    no: Counter[str] = field(default_factory=Counter)
    broken: int = 0  # lines
    wanted: int = 0
    heard: asyncio.Event = field(default_factory=asyncio.Event)

    def tells(self, wanted: int) -> None:
        """Set `heard` once so many phones have read a "yes"."""
        self.wanted = wanted
        (self.heard.set if len(self.yes) >= wanted else self.heard.clear)()

    async def storm(self, members: Sequence[int]) -> None:
        """Until everybody has an answer."""
        waiting = list(reversed(members))
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http, asyncio.timeout(SECONDS):

            async def phone() -> None:
                while waiting:
                    await self._taps_until_answered(http, waiting.pop())

            await asyncio.gather(*(phone() for _ in range(PHONES)))

    async def _taps_until_answered(self, http: aiohttp.ClientSession, member: int) -> None:
        for _ in range(int(SECONDS / AGAIN_SECONDS)):
            if await self._taps(http, member):
                return
            await asyncio.sleep(AGAIN_SECONDS)
        raise AssertionError(f"{member} is not answered")

    async def _taps(self, http: aiohttp.ClientSession, member: int) -> bool:
        """Send the form once; whether that was answered for good."""
        port = self.ports[(member + self.broken) % len(self.ports)]
        cookie = self.seals.seal({"member": member}, STAY)
        opened = self.seals.open(cookie)
        assert opened is not None
        form = {"token": self.seals.mac(f"form:{member}:{opened['until']}"), "item": "A1", "key": f"tap-{member}"}
        url = f"http://127.0.0.1:{port}/h5/sales/{self.code}/claim"
        headers = {"Accept": "application/json", "Cookie": f"{COOKIE}={cookie}"}
        try:
            async with http.post(url, data=form, headers=headers) as answer:
                told = await answer.json()
        except (aiohttp.ClientError, OSError):
            self.broken += 1
            return False
        if told["ok"]:
            self.yes[member] = told["claim"]
            self.tells(self.wanted)
            return True
        if told["code"] not in FINAL:
            assert told["code"] == "shop.busy", told
            return False
        self.no[told["code"]] += 1
        return True


@asynccontextmanager
async def shop(url: str, sessions: Sessions, folder: Path) -> AsyncIterator[tuple[Crowd, list[Crew], list[int]]]:
    """A sale that is open, web processes that a test may kill, and members who have been here for long."""
    now = SystemClock().now()
    rows = [
        {"id": one, "code": f"{one:08}", "name": "", "avatar": "", "gender": Gender.UNKNOWN,
         "source": MemberSource.IMPORT, "joined_at": now - timedelta(days=90)}
        for one in range(1, MEMBERS + 1)
    ]  # fmt: skip
    item = ItemPlan(code="A1", sku="A1", name="主食冻干", price_fen=1990, list_price_fen=5990, stock=STOCK)
    plan = Plan(name="周四秒杀", opens_at=now, closes_at=now + timedelta(hours=1), items=[item])
    async with sessions.begin() as session:
        await insert_all(session, Member.__table__, rows)
        sale: Sale = await sales.plan(session, plan, now=now, chance=random.Random(7))
        await sales.announce(session, sale.id)
    async with AsyncExitStack() as stack:
        origin = await stack.enter_async_context(listening(new_simulator()))
        crews = []
        for _ in range(2 if sessions.dialect == "postgresql" else 1):
            port = free_port()
            crew = Crew(environment(url, origin, folder, port), folder, port)
            stack.callback(crew.end)
            crew.start("web")
            await crew.ready()
            crews.append(crew)
        seals = Seals(SECRET.encode(), SystemClock(), about="siyu visitors")
        yield Crowd(sale.code, [crew.port for crew in crews], seals), crews, [row["id"] for row in rows]


async def test_two_thousand_phones_and_a_service_that_dies_again_and_again(
    database_url: str, sessions: Sessions, tmp_path: Path
) -> None:
    chance = random.Random(20)
    async with shop(database_url, sessions, tmp_path) as (crowd, crews, members):
        storm = asyncio.create_task(crowd.storm(members))
        killed_at_work = 0
        for number in range(KILLS):
            wanted = (number + 1) * STOCK // (KILLS + 1)
            crowd.tells(wanted)
            await asyncio.wait([storm, asyncio.create_task(crowd.heard.wait())], return_when="FIRST_COMPLETED")
            await asyncio.sleep(chance.random() * 0.01)
            killed_at_work += not storm.done()
            crew = crews[number % len(crews)]
            crew.replace(chance)
            told = set(crowd.yes.items())
            async with sessions.read() as session:
                kept = {(row[0], row[1]) for row in await session.execute(sa.select(Claim.member_id, Claim.no))}
            assert told <= kept
            await crew.ready()
        await storm
    assert killed_at_work == KILLS and crowd.broken >= KILLS  # in the midst of it, or this shows nothing
    async with sessions.read() as session:
        claims = (await session.execute(sa.select(Claim.member_id, Claim.no, Claim.quantity))).all()
        (item,) = await session.scalars(sa.select(SaleItem))
        assert await board.mismatches(session) == []
    assert crowd.yes == {row.member_id: row.no for row in claims}  # who asked again heard of the claim they had
    assert Counter(row.quantity for row in claims) == {1: STOCK}
    assert (item.held, item.sold, len(crowd.yes), sum(crowd.no.values())) == (STOCK, 0, STOCK, MEMBERS - STOCK)
