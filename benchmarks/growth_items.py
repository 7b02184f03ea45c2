"""Which articles are bought together: a night's count over order lines in the database, beside polars in memory."""

import resource
import time
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from benchmarks.report import Row, say
from campaigns import item_counts
from campaigns.models.suggestion import ItemPair
from crm.base.db import Sessions, is_sqlite, open_sessions

NOW = datetime(2026, 3, 9, 19, tzinfo=UTC)
TODAY = date(2026, 3, 10)
LINES_EACH = 4
ARTICLES = (200, 400, 800, 1600)  # of which each line of an order is one, some sold far more than others
STEPS = (7919, 15_485_863, 32_452_843, 49_979_687)
PRIME = 1_000_003
DAYS = 360


async def bought_together(kind: str, url: str, lines: int) -> list[Row]:
    """The whole night's work: articles named, pairs counted, the best kept and written."""
    sessions = open_sessions(url)
    try:
        say(f"growth: {lines:,} order lines of {sum(ARTICLES):,} articles into {kind} …")
        await _load(sessions, lines // LINES_EACH)
        began = time.perf_counter()
        run = await item_counts.recount(sessions, now=NOW)
        seconds = time.perf_counter() - began
        assert run is not None, "counted already"
        assert run.lines == lines, run.lines
        async with sessions.read() as session:
            kept = await session.scalar(sa.select(sa.func.count()).select_from(ItemPair)) or 0
        say(f"growth: {run.pairs:,} pairs, {kept:,} kept; the process had at most {_megabytes():,} MB")
        try:
            peer, theirs = _by_polars(lines // LINES_EACH)
        except ModuleNotFoundError:
            say("growth: polars is not installed, so there is nothing beside our figure (pip install polars)")
            return [Row(f"{kind}, bought together", "order lines/s", lines / seconds)]
        assert theirs == run.pairs, f"polars finds {theirs:,} pairs, we {run.pairs:,}"
        return [Row(f"{kind}, bought together", "order lines/s", lines / seconds, lines / peer)]
    finally:
        await sessions.close()


def _by_polars(orders: int) -> tuple[float, int]:
    """Seconds for the pairs of all orders with their scores and the best of each, and how many pairs there are."""
    import polars as pl

    numbers = np.arange(1, orders + 1, dtype=np.int64)
    parts = []
    for place, (count, step) in enumerate(zip(ARTICLES, STEPS, strict=True)):
        even = numbers * step % PRIME
        parts.append(even * even // PRIME * count // PRIME + sum(ARTICLES[:place]))
    frame = pl.DataFrame(
        {"order": np.tile(numbers, LINES_EACH).astype(np.int32), "item": np.concatenate(parts).astype(np.int32)}
    )
    _pairs(frame.head(1000))  # its threads are awake
    began = time.perf_counter()
    found = _pairs(frame)
    return time.perf_counter() - began, found


def _pairs(frame: Any) -> int:
    import polars as pl

    sold = frame.group_by("item").agg(sold=pl.len())
    pairs = (
        frame.lazy()
        .join(frame.lazy(), on="order")
        .filter(pl.col("item") < pl.col("item_right"))
        .group_by("item", "item_right")
        .agg(together=pl.len())
        .collect()
    )
    scored = (
        pairs.filter(pl.col("together") >= item_counts.LEAST_TOGETHER)
        .join(sold, on="item")
        .join(sold, left_on="item_right", right_on="item", suffix="_other")
        .with_columns(score=pl.col("together") / (pl.col("sold") * pl.col("sold_other")).sqrt())
    )
    turned = scored.select(item="item_right", item_right="item", together="together", score="score")
    both = pl.concat([scored.select("item", "item_right", "together", "score"), turned])
    both.sort("item", "score", descending=[False, True]).group_by("item", maintain_order=True).head(item_counts.BEST)
    return len(pairs)


async def _load(sessions: Sessions, orders: int) -> None:
    """Orders of four articles each, made inside the database."""
    async with sessions.begin() as session:
        lite = is_sqlite(session)
        run = (await session.connection()).exec_driver_sql
        at = "'2025-06-01 00:00:00.000000'" if lite else "'2025-06-01 00:00:00+00'::timestamptz"
        on = f"date('{TODAY}', '-' || (i % {DAYS}) || ' days')" if lite else f"date '{TODAY}' - (i % {DAYS})::int"
        numbers = _numbers(session, orders)
        await run(
            "INSERT INTO members (id, code, name, avatar, gender, source, joined_at)"
            f" VALUES (1, '00000001', '', '', 'unknown', 'import', {at})"
        )
        await run(
            "INSERT INTO orders (id, member_id, source, external_no, status, total_fen, paid_fen, refunded_fen,"
            f" placed_at, told_at, paid_at, paid_on) SELECT i, 1, 'bench', CAST(i AS TEXT), 'paid', 9900, 9900, 0,"
            f" {at}, {at}, {at}, {on} FROM ({numbers}) AS numbers"
        )
        told = list(zip(ARTICLES, STEPS, strict=True))
        even = f"(i * step % {PRIME})"
        lines = ", ".join(f"({place}, {step}, {count})" for place, (count, step) in enumerate(told))
        await run(
            "INSERT INTO order_lines (order_id, line_no, sku, name, category, quantity, price_fen)"
            f" SELECT i, place + 1, 'A' || place || '-' || ({even} * {even} / {PRIME} * much / {PRIME}), '商品',"
            f" 'c' || place, 1, 2500 FROM ({numbers}) AS numbers"
            " CROSS JOIN (SELECT column1 AS place, column2 AS step, column3 AS much"
            f" FROM (VALUES {lines}) AS told) AS kinds ORDER BY i, place"
        )
        await run("ANALYZE")


def _numbers(session: AsyncSession, count: int) -> str:
    if is_sqlite(session):
        return f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) SELECT i FROM n"
    return f"SELECT i FROM generate_series(1::bigint, {count}) AS n(i)"


def _megabytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
