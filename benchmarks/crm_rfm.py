"""A night of RFM over a large shop, against the same scores made from the raw rows in memory and not kept."""

import asyncio
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.ground import database
from benchmarks.report import Row, median, percentile, say
from crm import rfm
from crm.base.bulk import EPOCH, day_number
from crm.base.db import Sessions, open_sessions
from crm.models.order import OrderStatus
from crm.models.rfm import RfmSnapshot
from crm.order_changes import OrderChange, Standing
from crm.rfm_rules import Population, Rule, cutoffs_of, score_all

Ints = NDArray[np.int64]
TODAY = datetime(2026, 3, 9, 4, tzinfo=UTC).date()
SPREAD_DAYS = 400
NIGHTS = 3
LAID_ASIDE = ("ix_orders_member_id_paid_at_paid_fen_refunded_fen", "ix_orders_paid_on")  # made again behind the rows


@dataclass(frozen=True, slots=True)
class Size:
    members: int
    orders: int
    singles: int  # orders followed one by one


FULL = Size(1_000_000, 10_000_000, 500)
QUICK = Size(60_000, 600_000, 200)


@dataclass(frozen=True, slots=True)
class Orders:
    """Every order as three columns; days since 1970-01-01."""

    member: Ints
    day: Ints
    fen: Ints

    def of(self, chosen: NDArray[np.bool_]) -> "Orders":
        return Orders(self.member[chosen], self.day[chosen], self.fen[chosen])


def made_up(size: Size) -> Orders:
    """Orders up to the last of some nights from TODAY on; a fifth of the members buy most."""
    chance = np.random.default_rng(7)
    member = 1 + (size.members * chance.random(size.orders) ** 2).astype(np.int64)
    last = day_number(TODAY) + NIGHTS
    day = np.sort(last - 1 - (SPREAD_DAYS * chance.random(size.orders)).astype(np.int64))
    fen = (chance.lognormal(9, 1, size.orders)).astype(np.int64) + 1
    return Orders(member, day, fen)


def measure(quick: bool) -> list[Row]:
    size = QUICK if quick else FULL
    orders = made_up(size)
    with database("SQLite") as url:
        past = orders.day < day_number(TODAY)
        say(f"rfm: {size.members:,} members, {int(past.sum()):,} orders into SQLite …")
        _load(Path(url.removeprefix("sqlite+aiosqlite:///")), size, orders.of(past))
        return asyncio.run(_nights(url, size, orders))


async def _nights(url: str, size: Size, orders: Orders) -> list[Row]:
    sessions = open_sessions(url)
    try:
        counted = await _refresh(sessions, 0)
        say(f"rfm: counted from the orders in {counted[1]:.2f} s; now {NIGHTS - 1} nights")
        nights, limits = [], []
        for night in range(1, NIGHTS):
            await _sell(sessions, orders.of(orders.day == day_number(TODAY) + night - 1), size)
            snapshot, seconds = await _refresh(sessions, night)
            nights.append(seconds)
            limits.append(_in_memory(orders, day_number(TODAY) + night, snapshot.members))
            say(f"rfm: {snapshot.members:,} scored, {snapshot.moved:,} moved: {seconds:.2f} s")
        rows = [
            Row(
                f"a night: {size.members:,} members, {size.orders:,} orders; limit: numpy on raw rows, not kept",
                "s",
                median(nights),
                median(limits),
                peers=_duckdb(orders),
            ),
            Row("the same, counted from the orders", "s", counted[1], median(limits)),
        ]
        return [*rows, *await _singles(sessions, size)]
    finally:
        await sessions.close()


async def _refresh(sessions: Sessions, night: int) -> tuple[RfmSnapshot, float]:
    now = _noon(night)
    began = time.perf_counter()
    async with sessions.begin() as session:
        snapshot = await rfm.refresh(session, as_of=TODAY + timedelta(days=night), rule=Rule(), now=now)
    return snapshot, time.perf_counter() - began


async def _sell(sessions: Sessions, orders: Orders, size: Size) -> None:
    """A day's orders, written and followed as an import does it."""
    rows = list(_rows(orders, first=size.orders * 2 + int(orders.day[0]) * 1_000_000))
    changes = [_change(row) for row in rows]
    async with sessions.begin() as session:
        connection = await session.connection()
        driver: Any = (await connection.get_raw_connection()).driver_connection
        await driver.executemany(INSERT, rows)
        for start in range(0, len(changes), 1000):
            await rfm.follow(session, changes[start : start + 1000], now=_noon(0))


async def _singles(sessions: Sessions, size: Size) -> list[Row]:
    """What one order costs us, in its own transaction, beside the bare statements of the same row."""
    ours, bare = [], []
    day = EPOCH + timedelta(days=day_number(TODAY) + NIGHTS - 1)
    for number in range(size.singles):
        member_id = 1 + number * 37 % size.members
        paid = Standing(status=OrderStatus.PAID, paid_at=_noon(NIGHTS), paid_on=day, paid_fen=8_800)
        change = OrderChange(order_id=1, member_id=member_id, after=paid, at=_noon(NIGHTS))
        async with sessions.begin() as session:
            began = time.perf_counter()
            await rfm.follow(session, [change], now=_noon(NIGHTS))
            ours.append(time.perf_counter() - began)
            connection = await session.connection()
            driver: Any = (await connection.get_raw_connection()).driver_connection
            began = time.perf_counter()
            await driver.execute_fetchall("SELECT * FROM rfm_snapshots ORDER BY taken_on DESC LIMIT 1")
            await driver.execute_fetchall("SELECT * FROM member_rfm WHERE member_id = ?", (member_id,))
            await driver.execute_fetchall(
                "UPDATE member_rfm SET frequency = frequency, r = r, f = f, m = m WHERE member_id = ?", (member_id,)
            )
            bare.append(time.perf_counter() - began)
    return [
        Row(f"an order re-scores its member, {name}; limit: the bare statements", "ms", of(ours) * 1e3, of(bare) * 1e3)
        for name, of in (("p50", median), ("p99", lambda values: percentile(values, 99)))
    ]


def _in_memory(orders: Orders, as_of: int, expected: int) -> float:
    """Seconds for everybody's scores from the raw columns."""
    began = time.perf_counter()
    inside = (orders.day >= as_of - 365) & (orders.day < as_of)
    member, day, fen = orders.member[inside], orders.day[inside], orders.fen[inside]
    frequency = np.bincount(member)
    money = np.bincount(member, weights=fen).astype(np.int64)
    last = np.zeros(len(frequency), np.int64)
    last[member] = day  # sorted by day: the last one stays
    there = np.flatnonzero(frequency)
    people = Population(there, as_of - last[there], frequency[there], money[there])
    cutoffs = cutoffs_of(people, Rule())
    assert cutoffs is not None and len(people) == expected
    score_all(people, cutoffs)
    return time.perf_counter() - began


def _duckdb(orders: Orders) -> dict[str, float]:
    """The same in DuckDB where it is installed: SQL over the columns in memory."""
    try:
        import duckdb  # type: ignore[import-not-found,unused-ignore]
    except ModuleNotFoundError:
        return {}
    connection = duckdb.connect()
    columns = {"member": orders.member, "day": orders.day, "fen": orders.fen}
    connection.register("told", columns)
    connection.execute("CREATE TABLE orders AS SELECT * FROM told")
    as_of = day_number(TODAY) + NIGHTS - 1
    began = time.perf_counter()
    connection.execute(
        f"""WITH base AS (SELECT member, {as_of} - max(day) AS r, count(*) AS f, sum(fen) AS m FROM orders
            WHERE day >= {as_of - 365} AND day < {as_of} GROUP BY member), n AS (SELECT count(*) AS n FROM base)
            SELECT member, 1 + (5 * (rank() OVER (ORDER BY r DESC) - 1)) // n,
            1 + (5 * (rank() OVER (ORDER BY f) - 1)) // n, 1 + (5 * (rank() OVER (ORDER BY m) - 1)) // n FROM base, n"""
    ).fetchnumpy()
    return {"DuckDB": time.perf_counter() - began}


INSERT = (
    "INSERT INTO orders (id, member_id, source, external_no, status, total_fen, paid_fen, refunded_fen,"
    " placed_at, told_at, paid_at, paid_on) VALUES (?, ?, 'bench', ?, 'paid', ?, ?, 0, ?, ?, ?, ?)"
)


def _rows(orders: Orders, first: int) -> Iterator[tuple[Any, ...]]:
    days: dict[int, tuple[str, str]] = {}
    for number, (member, day, fen) in enumerate(
        zip(orders.member.tolist(), orders.day.tolist(), orders.fen.tolist(), strict=True), first
    ):
        if day not in days:
            on = (EPOCH + timedelta(days=day)).isoformat()
            days[day] = (on, f"{on} 04:00:00.000000")
        on, at = days[day]
        yield number, member, f"N{number}", fen, fen, at, at, at, on


def _change(row: tuple[Any, ...]) -> OrderChange:
    at = datetime.fromisoformat(row[7]).replace(tzinfo=UTC)
    paid = Standing(status=OrderStatus.PAID, paid_at=at, paid_on=at.date(), paid_fen=row[4])
    return OrderChange(order_id=row[0], member_id=row[1], after=paid, at=at)


def _load(path: Path, size: Size, orders: Orders) -> None:
    """Rows as fast as SQLite takes them; how fast an import is, is another question."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA synchronous=OFF")
    made = [
        row[0]
        for name in LAID_ASIDE
        for row in connection.execute("SELECT sql FROM sqlite_master WHERE type = 'index' AND name = ?", (name,))
    ]
    for name in LAID_ASIDE:
        connection.execute(f"DROP INDEX IF EXISTS {name}")
    joined = "2025-01-01 00:00:00.000000"
    people = ((number, f"B{number:07d}", joined) for number in range(1, size.members + 1))
    connection.executemany(
        "INSERT INTO members (id, code, name, avatar, gender, source, joined_at)"
        " VALUES (?, ?, '', '', 'unknown', 'import', ?)",
        people,
    )
    connection.executemany(INSERT, _rows(orders, first=1))
    for sql in made:
        connection.execute(sql)
    connection.commit()
    connection.execute("ANALYZE")
    connection.close()


def _noon(night: int) -> datetime:
    return datetime(TODAY.year, TODAY.month, TODAY.day, 4, tzinfo=UTC) + timedelta(days=night)
