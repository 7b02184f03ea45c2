"""A file of orders into SQLite, members and totals with it, beside the raw insert of the very rows it leaves behind."""

import asyncio
import csv
import random
import resource
import sqlite3
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy.engine import make_url

from benchmarks.ground import database, folder
from benchmarks.report import Row, say
from crm.base.db import open_sessions
from crm.import_orders import import_orders
from crm.imports import TOGETHER

NOW = datetime(2026, 3, 9, tzinfo=UTC)
BEGAN = datetime(2024, 1, 1)  # noqa: DTZ001  (shop-local, as a file tells it)
ORDERS_A_MEMBER = 10
TABLES = (
    "members",
    "identities",
    "orders",
    "member_orders",
    "member_stages",
    "events",
)  # each may point to those before it


def measure(quick: bool) -> list[Row]:
    """quick: 30,000 orders; else a million."""
    count = 30_000 if quick else 1_000_000
    say(f"import: {count:,} orders of {count // ORDERS_A_MEMBER:,} members")
    with folder() as scratch, database("SQLite") as url, database("SQLite") as empty:
        path = _write(scratch / "orders.csv", count)
        before = _peak_mb()
        first, again = asyncio.run(_import_twice(url, path))
        grown = _peak_mb() - before
        raw = _insert_raw(Path(str(make_url(url).database)), Path(str(make_url(empty).database)))
    return [
        Row("import of new orders", "orders/s", count / first, count / raw),
        Row("import of known orders: nothing changes", "orders/s", count / again, count / raw),
        Row("memory an import adds at its peak", "MB", grown),
    ]


def _write(path: Path, count: int) -> Path:
    chance, at = random.Random(7), BEGAN
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(("order_id", "member_id", "paid_at", "kind", "amount"))
        for number in range(count):
            at += timedelta(seconds=60)
            member = chance.randrange(count // ORDERS_A_MEMBER)
            table.writerow(
                (f"SO{number:08}", member, at.isoformat(), "sale", f"{chance.randrange(1, 100_000) / 100:.2f}")
            )
    return path


async def _import_twice(url: str, path: Path) -> tuple[float, float]:
    sessions, seconds = open_sessions(url), []
    try:
        for _ in range(2):
            began = time.perf_counter()
            await import_orders(sessions, path, source="bench", now=NOW)
            seconds.append(time.perf_counter() - began)
    finally:
        await sessions.close()
    return seconds[0], seconds[1]


def _insert_raw(made: Path, empty: Path) -> float:
    """Seconds to insert what the import left, by executemany in as many transactions, as durable."""
    with sqlite3.connect(made) as source:
        rows = {table: source.execute(f"SELECT * FROM {table}").fetchall() for table in TABLES}
    source.close()
    target = sqlite3.connect(empty, isolation_level=None)
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        target.execute(f"PRAGMA {pragma}")
    began = time.perf_counter()
    for table, found in rows.items():
        statement = f"INSERT INTO {table} VALUES ({', '.join('?' * len(found[0]))})"
        for start in range(0, len(found), TOGETHER):
            target.execute("BEGIN IMMEDIATE")
            target.executemany(statement, found[start : start + TOGETHER])
            target.execute("COMMIT")
    seconds = time.perf_counter() - began
    target.close()
    return seconds


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
