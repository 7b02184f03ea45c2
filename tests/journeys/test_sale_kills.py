"""A storm on one item, killed hard again and again: no "yes" is lost, nobody has two, and the sums hold."""

import asyncio
import multiprocessing
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest
import sqlalchemy as sa

from bot.flashsale import board, sales
from bot.flashsale.sales import ItemPlan, Plan
from bot.models.sale import Claim, SaleItem
from crm.base.clock import SystemClock
from crm.base.db import Sessions, insert_all
from crm.models.member import Gender, Member, MemberSource
from tests.journeys import storm

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("kills")]

MEMBERS, STOCK, KILLS = 2_000, 1_200, 8
SECONDS = 60.0


@dataclass
class Storm:
    """Processes that claim the item, and the book of what they said."""

    url: str
    book: Path
    item_id: int
    members: list[int]
    is_hasty: bool = False
    chance: random.Random = field(default_factory=lambda: random.Random(20))
    running: list[ForkServerProcess] = field(default_factory=list)

    def start(self) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tests.journeys.storm"])  # a process to kill then costs milliseconds
        told = (self.url, self.book, self.item_id, self.members, self.chance.randrange(1000), self.is_hasty)
        process = context.Process(target=storm.claim, args=told)
        process.start()
        self.running.append(process)

    def kill(self) -> bool:
        """One of them, whichever; whether it was still at work."""
        process = self.running.pop(self.chance.randrange(len(self.running)))
        process.kill()
        process.join()
        return process.exitcode == -9

    def said(self) -> list[tuple[int, str]]:
        """To whom "yes" was said, and with which claim."""
        lines = self.book.read_text().splitlines() if self.book.exists() else []
        return [(int(member), no) for member, no in map(str.split, lines)]

    async def a_moment(self, answers: int) -> None:
        """Until so many more have been told "yes", and some milliseconds of the next commit."""
        end, wanted = asyncio.get_running_loop().time() + 5, len(self.said()) + answers
        while len(self.said()) < wanted and any(one.is_alive() for one in self.running):
            assert asyncio.get_running_loop().time() < end, "nobody is served"
            await asyncio.sleep(0.002)
        await asyncio.sleep(self.chance.random() * 0.02)

    def stop(self) -> None:
        """Nobody claims any more, however the test ended."""
        for process in self.running:
            process.kill()
            process.join()

    async def end(self) -> None:
        """Until everybody has an answer."""
        for process in self.running:
            await asyncio.to_thread(process.join, SECONDS)
            assert process.exitcode == 0


@asynccontextmanager
async def storm_on(url: str, sessions: Sessions, folder: Path, *, is_hasty: bool = False) -> AsyncIterator[Storm]:
    """A sale that is open, and who wants something of it."""
    now = SystemClock().now()
    rows = [
        {"id": one, "code": f"{one:08}", "name": "", "avatar": "", "gender": Gender.UNKNOWN,
         "source": MemberSource.IMPORT, "joined_at": now}
        for one in range(1, MEMBERS + 1)
    ]  # fmt: skip
    item = ItemPlan(code="A1", sku="A1", name="主食冻干", price_fen=1990, list_price_fen=5990, stock=STOCK)
    plan = Plan(name="周四秒杀", opens_at=now, closes_at=now + timedelta(hours=1), items=[item])
    async with sessions.begin() as session:
        await insert_all(session, Member.__table__, rows)
        sale = await sales.plan(session, plan, now=now, chance=random.Random(7))
        await sales.announce(session, sale.id)
        (made,) = await sales.items_of(session, sale.id)
    storming = Storm(url, folder / "said.txt", made.id, list(range(1, MEMBERS + 1)), is_hasty)
    try:
        yield storming
    finally:
        storming.stop()


async def lost(sessions: Sessions, said: list[tuple[int, str]]) -> set[tuple[int, str]]:
    """Who was told "yes" and has nothing."""
    async with sessions.read() as session:
        kept = {(row.member_id, row.no) for row in await session.execute(sa.select(Claim.member_id, Claim.no))}
    return set(said) - kept


async def test_no_yes_is_lost_and_no_limit_broken_however_often_it_is_killed(
    database_url: str, sessions: Sessions, tmp_path: Path
) -> None:
    killed = 0
    async with storm_on(database_url, sessions, tmp_path) as storming:
        for _ in range(2 if sessions.dialect == "postgresql" else 1):
            storming.start()
        for _ in range(KILLS):
            await storming.a_moment(storming.chance.randrange(STOCK // KILLS))
            killed += storming.kill()
            assert await lost(sessions, storming.said()) == set()
            storming.start()
        await storming.end()
    assert killed >= KILLS // 2  # in the midst of it, or this shows nothing
    said = storming.said()
    assert await lost(sessions, said) == set()
    async with sessions.read() as session:
        claims = (await session.execute(sa.select(Claim.member_id, Claim.quantity))).all()
        item = await session.get_one(SaleItem, storming.item_id)
        assert await board.mismatches(session) == []
    assert Counter(row.quantity for row in claims) == {1: STOCK}
    assert len({row.member_id for row in claims}) == STOCK  # one each
    assert {member for member, _ in said} <= {row.member_id for row in claims}
    assert (item.held, item.sold) == (STOCK, 0)


async def test_a_yes_before_the_commit_is_lost(database_url: str, sessions: Sessions, tmp_path: Path) -> None:
    async with storm_on(database_url, sessions, tmp_path, is_hasty=True) as storming:
        storming.start()
        await storming.a_moment(1)
        assert storming.kill()
        assert await lost(sessions, storming.said())
