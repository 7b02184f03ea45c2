"""Which articles are bought together: counted every night over a year of orders, in bounded memory.

Orders are read in ranges of their numbers as plain integers and paired with numpy; no order is split between two
ranges. Pairs are gathered up to a bound, past which the rarest are let go: a shop with fewer pairs is counted exactly.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns.models.suggestion import Item, ItemPair, ItemRun
from crm.base import bulk
from crm.base.clock import local_day
from crm.base.db import Sessions, hold, insert, insert_rows, is_among, is_sqlite
from crm.models.order import Order, OrderLine

log = logging.getLogger(__name__)

Ints = NDArray[np.int64]
WINDOW_DAYS = 365
RANGE = 100_000  # orders, or lines, looked at in one query
LARGEST_ORDER = 30  # different articles: who buys more buys for resale
LEAST_TOGETHER = 2
BEST = 20  # others kept of each article
MOST_PAIRS = 4_000_000  # 64 MB
MOST_WAITING = 4_000_000  # codes gathered before they are counted


@dataclass(slots=True)
class PairCounter:
    """Counts pairs, told as numbers. Never more than `most` different ones between two tellings."""

    most: int = MOST_PAIRS
    codes: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    counts: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    let_go: int = 0  # pairs that were counted so far and dropped
    _waiting: list[Ints] = field(default_factory=list)
    _held: int = 0

    def add(self, codes: Ints) -> None:
        self._waiting.append(codes)
        self._held += len(codes)
        if self._held >= MOST_WAITING:
            self.settle()

    def settle(self) -> None:
        """Count what waits; past the bound the rarest go."""
        fresh, counts = np.unique(np.concatenate([*self._waiting, np.empty(0, np.int64)]), return_counts=True)
        self._waiting, self._held = [], 0
        codes, places = np.unique(np.concatenate([self.codes, fresh]), return_inverse=True)
        both = np.bincount(places, weights=np.concatenate([self.counts, counts]), minlength=len(codes))
        self.codes, self.counts = codes, both.astype(np.int64)
        if len(self.codes) > self.most:
            kept = np.sort(np.argpartition(self.counts, -self.most)[-self.most :])
            self.let_go += len(self.codes) - self.most
            self.codes, self.counts = self.codes[kept], self.counts[kept]


@dataclass(slots=True)
class Sold:
    """What a count found of each article, by its number."""

    orders: Ints
    first: Ints  # days since 1970
    last: Ints
    lines: int = 0


@dataclass(frozen=True, slots=True)
class Best:
    """The pairs that are kept, both ways, and how many there were."""

    rows: list[tuple[int, int, int, float]]  # item, other, together, score
    pairs: int


# Rules


def pairs_of(orders: Ints, items: Ints, *, base: int) -> Ints:
    """Every two articles of one order, as one × base + other, one < other. Told sorted, see baskets()."""
    found = [np.empty(0, np.int64)]
    for apart in range(1, min(LARGEST_ORDER, len(orders))):
        same = orders[apart:] == orders[:-apart]
        if not same.any():
            break
        found.append(items[:-apart][same] * base + items[apart:][same])
    return np.concatenate(found)


def baskets(rows: Ints) -> Ints:
    """(order, item, day) sorted, each article once an order, without orders of too many articles."""
    if not len(rows):
        return rows
    rows = rows[np.lexsort((rows[:, 1], rows[:, 0]))]
    fresh = np.ones(len(rows), bool)
    fresh[1:] = (rows[1:, 0] != rows[:-1, 0]) | (rows[1:, 1] != rows[:-1, 1])
    rows = rows[fresh]
    _, places, sizes = np.unique(rows[:, 0], return_inverse=True, return_counts=True)
    return rows[sizes[places] <= LARGEST_ORDER]


def best(counter: PairCounter, orders: Ints, *, base: int) -> Best:
    """Of each article the others that it is most often bought with, for how often either is bought at all."""
    often = counter.counts >= LEAST_TOGETHER
    codes, together = counter.codes[often], counter.counts[often]
    one, other = codes // base, codes % base
    score = together / np.sqrt(orders[one] * orders[other].astype(np.float64))
    item, mate = np.concatenate([one, other]), np.concatenate([other, one])
    both, scores = np.concatenate([together, together]), np.concatenate([score, score])
    order = np.lexsort((mate, -both, -scores, item))
    item, mate, both, scores = item[order], mate[order], both[order], scores[order]
    starts = np.searchsorted(item, item)
    kept = np.arange(len(item)) - starts < BEST
    columns = (item[kept].tolist(), mate[kept].tolist(), both[kept].tolist(), scores[kept].tolist())
    return Best(list(zip(*columns, strict=True)), len(counter.codes))


# The night


async def recount(sessions: Sessions, *, now: datetime) -> ItemRun | None:
    """Count anew, once a shop-local day whoever asks; None: it was done already."""
    today = local_day(now)
    async with sessions.read() as session:
        if await session.get(ItemRun, today) is not None:
            return None
    line_id = await _know_items(sessions)
    since = today - timedelta(days=WINDOW_DAYS)
    sold, counter, base = await _count(sessions, since)
    found = await asyncio.to_thread(best, counter, sold.orders, base=base)
    if counter.let_go:
        log.warning("items.pairs_let_go", extra={"pairs": counter.let_go})
    days = sold.first[sold.orders > 0]
    run = ItemRun(counted_on=today, line_id=line_id, lines=sold.lines, pairs=found.pairs, counted_at=now)
    run.since_on = _day(int(days.min())) if len(days) else None
    return await _write(sessions, run, sold, found)


async def _know_items(sessions: Sessions) -> int:
    """Articles of lines that came since the last count, and what the newest line calls them."""
    async with sessions.read() as session:
        seen = await session.scalar(sa.select(sa.func.max(ItemRun.line_id))) or 0
        last = await session.scalar(sa.select(sa.func.max(OrderLine.id))) or 0
    lows, is_first = range(seen, last, RANGE), seen == 0
    for low in reversed(lows) if is_first else lows:  # of a shop's whole past the newest first, which is then right
        await _know(sessions, low, min(low + RANGE, last), only_new=is_first)
    return last


async def _know(sessions: Sessions, low: int, high: int, *, only_new: bool) -> None:
    """only_new: what is known by now keeps its name, which saves sorting a shop's whole past."""
    unknown = ~sa.exists(sa.select(sa.literal(1)).where(Item.sku == OrderLine.sku))
    newest = (
        sa.select(sa.func.max(OrderLine.id))
        .where(OrderLine.id > low, OrderLine.id <= high, *((unknown,) if only_new else ()))
        .group_by(OrderLine.sku)
        .scalar_subquery()
    )
    async with sessions.read() as session:
        lines = sa.select(OrderLine.sku, OrderLine.name, OrderLine.category).where(OrderLine.id.in_(newest))
        rows = (await session.execute(lines.order_by(OrderLine.sku))).all()
    if not rows:
        return
    async with sessions.begin() as session:
        await hold(session, "items")
        names = ("sku", "name", "category", "orders")
        told = [(row.sku, row.name, row.category, 0) for row in rows]
        same = "(sku) DO UPDATE SET name = excluded.name, category = excluded.category"
        await insert_rows(session, Item.__table__, names, told, conflict=same)


async def _count(sessions: Sessions, since: date) -> tuple[Sold, PairCounter, int]:
    async with sessions.read() as session:
        base = (await session.scalar(sa.select(sa.func.max(Item.id))) or 0) + 1
        first, last = (await session.execute(sa.select(sa.func.min(Order.id), sa.func.max(Order.id)))).one()
    sold = Sold(np.zeros(base, np.int64), np.full(base, np.iinfo(np.int64).max), np.zeros(base, np.int64))
    counter = PairCounter()
    for low in range((first or 1) - 1, last or 0, RANGE):
        async with sessions.read() as session:
            rows = await _lines(session, low, low + RANGE, since)
        await asyncio.to_thread(_take, rows, sold, counter, base)
    await asyncio.to_thread(counter.settle)
    return sold, counter, base


async def _lines(session: AsyncSession, low: int, high: int, since: date) -> Ints:
    """(order, item, day) of what was paid and kept, of these orders."""
    return await bulk.read_numbers(
        session,
        sa.select(OrderLine.order_id, Item.id, bulk.number_of_day(session, Order.paid_on))
        .join(Order, Order.id == OrderLine.order_id)
        .join(Item, Item.sku == OrderLine.sku)
        .where(
            OrderLine.order_id > low,
            OrderLine.order_id <= high,
            Order.paid_on >= since,
            Order.paid_fen > Order.refunded_fen,
        ),
    )


def _take(rows: Ints, sold: Sold, counter: PairCounter, base: int) -> None:
    sold.lines += len(rows)
    found = baskets(rows)
    items, days = found[:, 1], found[:, 2]
    sold.orders += np.bincount(items, minlength=base)
    np.minimum.at(sold.first, items, days)
    np.maximum.at(sold.last, items, days)
    counter.add(pairs_of(found[:, 0], items, base=base))


async def _write(sessions: Sessions, run: ItemRun, sold: Sold, found: Best) -> ItemRun | None:
    """All of it in one transaction: who reads meanwhile reads the count before."""
    async with sessions.begin() as session:
        values = {name: getattr(run, name) for name in ItemRun.__table__.c.keys()}  # noqa: SIM118
        row = insert(session, ItemRun).values(**values).on_conflict_do_nothing().returning(ItemRun.counted_on)
        if await session.scalar(row) is None:
            return None  # somebody else was quicker
        await session.execute(sa.update(Item).values(orders=0), execution_options={"synchronize_session": False})
        ids = np.flatnonzero(sold.orders).tolist()
        known = await _firsts(session, ids)
        facts: list[Sequence[object]] = []
        for number in ids:
            first = _day(int(sold.first[number]))
            before = known.get(number)
            first = min(first, before) if before is not None else first
            days = (first, _day(int(sold.last[number])))
            told = [day.isoformat() for day in days] if is_sqlite(session) else days
            facts.append((number, int(sold.orders[number]), *told))
        await bulk.update_columns(session, Item.id, (Item.orders, Item.first_on, Item.last_on), facts)
        await session.execute(sa.delete(ItemPair))
        names = ("item_id", "other_id", "together", "score")
        await insert_rows(session, ItemPair.__table__, names, found.rows)
    return run


async def _firsts(session: AsyncSession, ids: Sequence[int]) -> dict[int, date]:
    """The first days that are known already: they may lie before what was looked at."""
    rows = await session.execute(
        sa.select(Item.id, Item.first_on).where(is_among(session, Item.id, ids), Item.first_on.is_not(None))
    )
    return {row.id: row.first_on for row in rows if row.first_on is not None}


def _day(number: int) -> date:
    return bulk.EPOCH + timedelta(days=number)
