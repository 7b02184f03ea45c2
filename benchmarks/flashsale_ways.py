"""Other ways to claim the same rows of the same table, for benchmarks/flashsale.py: the limit, and what people write.

All of them speak to the driver itself, which is the fastest that each can be.
"""

import asyncio
import sqlite3
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

import asyncpg
from sqlalchemy.engine import make_url

from crm.base.ids import dedupe_key

BATCH = 500
CONNECTIONS = 64  # of those who take a transaction for each claim
PRICE_FEN = 1990
PAY_WINDOW = timedelta(minutes=15)
COLUMNS = "no, item_id, member_id, quantity, total_fen, status, channel, claimed_at, pay_due_at"
Row = tuple[str, int, int, int, int, str, str, datetime, datetime]


def rows(item_id: int, members: Sequence[int], *, now: datetime) -> list[Row]:
    """The claims that the allocator would write for these members."""
    return [
        (dedupe_key("claim", item_id, one, "bench"), item_id, one, 1, PRICE_FEN, "held", "h5", now, now + PAY_WINDOW)
        for one in members
    ]


class OnSqlite:
    """The file by sqlite3 itself, as durable as ours."""

    def __init__(self, url: str) -> None:
        self._file = sqlite3.connect(str(make_url(url).database), isolation_level=None)
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            self._file.execute(f"PRAGMA {pragma}")

    async def close(self) -> None:
        self._file.close()

    async def batched(self, claims: Sequence[Row]) -> float:
        """Seconds for batches of 500 and one move of the counter each: the limit."""
        texts = [_as_text(one) for one in claims]
        began = time.perf_counter()
        for start in range(0, len(texts), BATCH):
            batch = texts[start : start + BATCH]
            self._file.execute("BEGIN IMMEDIATE")
            self._file.executemany(f"INSERT INTO claims ({COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?)", batch)
            self._file.execute("UPDATE sale_items SET held = held + ? WHERE id = ?", (len(batch), batch[0][1]))
            self._file.execute("COMMIT")
        return time.perf_counter() - began

    async def one_by_one(self, claims: Sequence[Row]) -> dict[str, float]:
        """Claims per second of one transaction each; one connection, as a file has one writer."""
        texts = [_as_text(one) for one in claims]
        began = time.perf_counter()
        for each in texts:
            self._file.execute("BEGIN IMMEDIATE")
            moved = self._file.execute(
                "UPDATE sale_items SET held = held + 1 WHERE id = ? AND held + sold < stock", (each[1],)
            )
            if moved.rowcount:
                self._file.execute(f"INSERT INTO claims ({COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?)", each)
            self._file.execute("COMMIT")
        return {"conditional UPDATE, one claim each": len(claims) / (time.perf_counter() - began)}


def _as_text(row: Row) -> tuple[object, ...]:
    return (*row[:7], *(one.replace(tzinfo=None).isoformat(" ", "microseconds") for one in row[7:]))


class OnPostgres:
    """The server by asyncpg itself."""

    def __init__(self, url: str) -> None:
        self._address = url.replace("postgresql+asyncpg://", "postgresql://")
        self._pool: asyncpg.Pool | None = None

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.close()

    async def batched(self, claims: Sequence[Row]) -> float:
        """Seconds for batches of 500 as one INSERT … SELECT FROM unnest, and one move of the counter each."""
        kinds = ["text", "bigint", "bigint", "bigint", "bigint", "text", "text", "timestamptz", "timestamptz"]
        arrays = ", ".join(f"${place}::{kind}[]" for place, kind in enumerate(kinds, 1))
        insert = f"INSERT INTO claims ({COLUMNS}) SELECT * FROM unnest({arrays}) ON CONFLICT (no) DO NOTHING"
        pool = await self._opened()
        async with pool.acquire() as connection:
            began = time.perf_counter()
            for start in range(0, len(claims), BATCH):
                batch = claims[start : start + BATCH]
                async with connection.transaction():
                    await connection.execute(insert, *map(list, zip(*batch, strict=True)))
                    await connection.execute(
                        "UPDATE sale_items SET held = held + $1 WHERE id = $2", len(batch), batch[0][1]
                    )
            return time.perf_counter() - began

    async def one_by_one(self, claims: Sequence[Row]) -> dict[str, float]:
        """Claims per second of one transaction each, over 64 connections: by row lock, and by conditional UPDATE."""
        half = len(claims) // 2
        return {
            "row locks, one claim each": half / await self._shared_out(claims[:half], self._by_lock),
            "conditional UPDATE, one claim each": half
            / await self._shared_out(claims[half : 2 * half], self._by_guard),
        }

    async def _opened(self) -> "asyncpg.Pool":
        if self._pool is None:
            self._pool = await asyncpg.create_pool(self._address, min_size=CONNECTIONS, max_size=CONNECTIONS)
        return self._pool

    async def _shared_out(
        self, claims: Sequence[Row], claim: Callable[["asyncpg.Connection", Row], Awaitable[None]]
    ) -> float:
        """Seconds until 64 connections have claimed all of them."""
        pool, waiting = await self._opened(), iter(claims)

        async def work() -> None:
            async with pool.acquire() as connection:
                for each in waiting:
                    async with connection.transaction():
                        await claim(connection, each)

        began = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(CONNECTIONS)))
        return time.perf_counter() - began

    async def _by_lock(self, connection: "asyncpg.Connection", row: Row) -> None:
        left = await connection.fetchval("SELECT stock - held - sold FROM sale_items WHERE id = $1 FOR UPDATE", row[1])
        if left > 0:
            await connection.execute("UPDATE sale_items SET held = held + 1 WHERE id = $1", row[1])
            await self._insert(connection, row)

    async def _by_guard(self, connection: "asyncpg.Connection", row: Row) -> None:
        moved = await connection.execute(
            "UPDATE sale_items SET held = held + 1 WHERE id = $1 AND held + sold < stock", row[1]
        )
        if moved == "UPDATE 1":
            await self._insert(connection, row)

    async def _insert(self, connection: "asyncpg.Connection", row: Row) -> None:
        await connection.execute(f"INSERT INTO claims ({COLUMNS}) VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9)", *row)
