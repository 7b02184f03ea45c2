"""Durable claims per second through the allocator, against raw batched inserts of the same rows, and other ways."""

import asyncio
import contextlib
import random
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from benchmarks import flashsale_redis as redis
from benchmarks.child import Child
from benchmarks.flashsale_ways import PRICE_FEN, OnPostgres, OnSqlite, rows
from benchmarks.ground import DATABASES, database
from benchmarks.report import Report, Row, command, median, percentile, say
from bot.flashsale import sales
from bot.flashsale.allocator import Allocator
from bot.flashsale.sales import ItemPlan, Plan
from bot.flashsale.terms import Granted, Request, SoldOut
from bot.models.sale import Channel
from crm.base.clock import SystemClock
from crm.base.db import Sessions, open_sessions

STOCK = 10_000_000  # more than anybody claims here
Claim = Callable[[Request], Awaitable[Granted]]


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    rounds: int
    claims: int  # of one round
    alone: int  # claims of one round that take a transaction each
    refusals: int
    clients: int = 1_000
    databases: tuple[str, ...] = DATABASES


FULL = Size(7, 40_000, 4_000, 20_000)
QUICK = Size(3, 8_000, 600, 20_000)


@dataclass(frozen=True, slots=True)
class Round:
    """What a storm of clients came to."""

    seconds: float
    latencies: list[float]

    @property
    def per_second(self) -> float:
        return len(self.latencies) / self.seconds


class Shop:
    """One process that claims through the allocator, and may claim the same rows in other ways."""

    def __init__(self, sessions: Sessions, url: str) -> None:
        self._sessions, self._clock = sessions, SystemClock()
        self.allocator = Allocator(sessions, self._clock)
        self._ways: OnSqlite | OnPostgres = OnSqlite(url) if sessions.dialect == "sqlite" else OnPostgres(url)
        self.close = self._ways.close

    async def set_up(self, members: int) -> tuple[int, int]:
        """Members 1 … n and a sale that is open: an item with plenty, and one with a single unit."""
        now = self._clock.now()
        async with self._sessions.begin() as session:
            await session.execute(people(session.get_bind().dialect.name, members, now))
            items = [item_plan("A1", STOCK), item_plan("A2", 1)]
            plan = Plan(name="秒杀", opens_at=now, closes_at=now + timedelta(hours=2), items=items)
            sale = await sales.plan(session, plan, now=now, chance=random.Random(7))
            await sales.announce(session, sale.id)
            plenty, single = await sales.items_of(session, sale.id)
        return plenty.id, single.id

    async def storm(self, item_id: int, members: Sequence[int], clients: int, begin_at: float = 0.0) -> Round:
        """Every member claims once; so many wait at a time. begin_at: of this machine's clock, to start together."""
        return await self._storm(self.allocator.claim, item_id, members, clients, begin_at)

    async def refused(self, item_id: int, members: Sequence[int], clients: int) -> Round:
        """The limit for what is sold out: nobody looks anything up."""
        return await self._storm(_refuse, item_id, members, clients)

    async def _storm(
        self, claim: Claim, item_id: int, members: Sequence[int], clients: int, begin_at: float = 0.0
    ) -> Round:
        waiting, latencies = deque(members), list[float]()

        async def client() -> None:
            while waiting:
                member = waiting.popleft()
                wanted = Request(item_id=item_id, member_id=member, quantity=1, key="bench", channel=Channel.H5)
                asked = time.perf_counter()
                with contextlib.suppress(SoldOut):
                    await claim(wanted)
                latencies.append(time.perf_counter() - asked)

        await asyncio.sleep(max(0.0, begin_at - time.monotonic()))
        began = time.perf_counter()
        await asyncio.gather(*(client() for _ in range(clients)))
        return Round(time.perf_counter() - began, latencies)

    async def batched(self, item_id: int, members: Sequence[int]) -> float:
        """The limit, in claims per second."""
        return len(members) / await self._ways.batched(rows(item_id, members, now=self._clock.now()))

    async def one_by_one(self, item_id: int, members: Sequence[int]) -> dict[str, float]:
        return await self._ways.one_by_one(rows(item_id, members, now=self._clock.now()))

    async def held(self, item_id: int) -> tuple[int, int]:
        """The item's counter, and its claims: the same, or the figures mean nothing."""
        async with self._sessions.read() as session:
            counter = await session.scalar(sa.text("SELECT held FROM sale_items WHERE id = :id"), {"id": item_id})
            count = await session.scalar(sa.text("SELECT count(*) FROM claims WHERE item_id = :id"), {"id": item_id})
        return counter or 0, count or 0


@asynccontextmanager
async def shop(url: str) -> AsyncIterator[Shop]:
    sessions = open_sessions(url)
    opened = Shop(sessions, url)
    await opened.allocator.start()
    try:
        yield opened
    finally:
        await opened.allocator.stop()
        await opened.close()
        await sessions.close()


async def _refuse(request: Request) -> Granted:
    raise SoldOut(request.item_id)


def item_plan(code: str, stock: int) -> ItemPlan:
    return ItemPlan(code=code, sku=code, name=code, price_fen=PRICE_FEN, list_price_fen=PRICE_FEN, stock=stock)


def people(dialect: str, count: int, now: datetime) -> sa.TextClause:
    numbers = (
        "generate_series(1, :count) AS one(n)"
        if dialect == "postgresql"
        else "(WITH RECURSIVE up(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM up WHERE n < :count) SELECT n FROM up)"
    )
    code = "lpad(to_hex(n), 8, '0')" if dialect == "postgresql" else "printf('%08x', n)"
    return sa.text(
        "INSERT INTO members (code, name, avatar, gender, source, joined_at)"
        f" SELECT {code}, '', '', 'unknown', 'import', :now FROM {numbers}"
    ).bindparams(sa.bindparam("now", now, sa.DateTime(timezone=True)), count=count)


class Members:
    """Hands out members nobody has used, so that every claim is a first one."""

    def __init__(self) -> None:
        self._next = 1

    def take(self, count: int) -> list[int]:
        first, self._next = self._next, self._next + count
        return list(range(first, self._next))


def measure(quick: bool, size: Size | None = None) -> Report:
    report = Report("flashsale")
    size = size or (QUICK if quick else FULL)
    for kind in size.databases:
        with database(kind) as url, ExitStack() as stack:
            processes = [stack.enter_context(Child(shop, url)) for _ in range(1 if kind == "SQLite" else 2)]
            report.rows += _compare(kind, processes, size)
    if rates := redis.measure(max(redis.TOGETHER, size.claims)):
        name = "Redis Lua decrement, fsync always; limit: pipelined by 500"
        report.rows.append(Row(name, "1/s", *rates))
    return report


def _compare(kind: str, processes: list[Child], size: Size) -> list[Row]:
    first, people = processes[0], Members()
    needed = (size.rounds + 1) * (2 + (len(processes) > 1)) * size.claims + size.rounds * (
        size.alone + size.refusals + 2
    )
    item, single = first.ask("set_up", needed)
    ours, limit, together, peers = list[Round](), list[float](), list[float](), list[dict[str, float]]()
    for number in range(size.rounds + 1):  # the first warms up
        for which in (0, 1) if number % 2 else (1, 0):
            if which:
                ours.append(first.ask("storm", item, people.take(size.claims), size.clients))
            else:
                limit.append(first.ask("batched", item, people.take(size.claims)))
        if len(processes) > 1:
            together.append(_at_once(processes, item, people.take(size.claims), size.clients))
        if number:
            peers.append(first.ask("one_by_one", item, people.take(size.alone)))
    counter, claims = first.ask("held", item)
    if counter != claims:
        raise RuntimeError(f"{counter} units are held by {claims} claims")
    found = _rows(kind, ours[1:], limit[1:], together[1:], peers)
    say(f"{kind}: {found[0].ours:,.0f}/s of {found[0].limit or 0:,.0f}/s")
    return [*found, *_sold_out(kind, first, single, people, size)]


def _sold_out(kind: str, process: Child, item: int, people: Members, size: Size) -> list[Row]:
    """Requests for what is gone, once the database has said so; the unit goes to the first who asks."""
    ours, limit = list[Round](), list[Round]()
    for _ in range(size.rounds):
        members = people.take(size.refusals)
        limit.append(process.ask("refused", item, members, size.clients))
        process.ask("storm", item, people.take(2), 1)
        ours.append(process.ask("storm", item, members, size.clients))
    rates = [median([one.per_second for one in rounds]) for rounds in (ours, limit)]
    p99s = [median([percentile(one.latencies, 99) for one in rounds]) * 1000 for rounds in (ours, limit)]
    return [
        Row(f"{kind}, sold out: refusals", "1/s", rates[0], rates[1]),
        Row(f"{kind}, sold out: p99 of a refusal", "ms", p99s[0], p99s[1]),
    ]


def _at_once(processes: list[Child], item: int, members: list[int], clients: int) -> float:
    """Claims per second of several processes on one item, from the start of the first to the end of the last."""
    share, ended = len(members) // len(processes), list[Round]()
    begin_at = time.monotonic() + 0.3  # one clock for all processes of a machine

    def run(number: int) -> None:
        mine = members[number * share : (number + 1) * share]
        ended.append(processes[number].ask("storm", item, mine, clients // len(processes), begin_at))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(processes))]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    if len(ended) < len(processes):
        raise RuntimeError("a process failed")
    return share * len(processes) / max(one.seconds for one in ended)


def _rows(
    kind: str, ours: list[Round], limit: list[float], together: list[float], peers: list[dict[str, float]]
) -> list[Row]:
    raw, rate = median(limit), median([one.per_second for one in ours])
    others = {name: median([one[name] for one in peers]) for name in peers[0]}
    p50, p99 = (median([percentile(one.latencies, percent) for one in ours]) * 1000 for percent in (50, 99))
    a_batch = 500 / raw * 1000
    found = [
        Row(f"{kind}, claims", "1/s", rate, raw, others),
        Row(f"{kind}, p50 of a claim; limit: a raw batch", "ms", p50, a_batch),
        Row(f"{kind}, p99 of a claim; limit: a raw batch", "ms", p99, a_batch),
    ]
    if together:
        found.append(Row(f"{kind}, two processes on one item; limit: one", "1/s", median(together), rate))
    return found


if __name__ == "__main__":
    command(measure, __doc__ or "")
