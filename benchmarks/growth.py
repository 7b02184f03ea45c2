"""What brings members back: a day of a million subscriptions, and what ten million order lines say of habits.

The daily run is measured beside one UPDATE over the same rows; habits, and what is bought together,
beside polars, which has them in memory already.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from benchmarks.ground import DATABASES, database
from benchmarks.growth_items import bought_together
from benchmarks.report import Report, Row, command, say
from campaigns import replenishment, subscription_days, subscription_reminders
from campaigns.definition import Message
from campaigns.models.replenishment import Replenishment
from campaigns.models.subscription import Cycle, CycleStatus, Reminder, ReminderStatus
from campaigns.subscription_reminders import Due, Key
from crm.base.clock import local_day
from crm.base.db import Sessions, is_sqlite, open_sessions
from crm.models.order import Order, OrderLine

NOW = datetime(2026, 3, 9, 11, tzinfo=UTC)  # seven in the evening in the shop: reminded since ten, ordered since six
TODAY = local_day(NOW)
STAFF = 20
ORDERS_EACH, LINES_EACH = 10, 2


@dataclass(frozen=True, slots=True)
class Size:
    subscriptions: int
    due: int  # of them today; as many again in three days and in seven
    lines: int
    databases: Sequence[str] = DATABASES


FULL = Size(1_000_000, 30_000, 10_000_000)
QUICK = Size(50_000, 1_500, 400_000)


def measure(quick: bool, size: Size | None = None) -> Report:
    size = size or (QUICK if quick else FULL)
    report = Report("growth")
    for kind in size.databases:
        for part in PARTS:
            with database(kind) as url:
                report.rows += asyncio.run(part(kind, url, size))
    return report


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Sessions]:
    sessions = open_sessions(url)
    try:
        yield sessions
    finally:
        await sessions.close()


# Subscriptions


class Post:
    """Ways that lead to a mass send, as most reminders go; nobody has the chat open."""

    async def reachable(self, session: AsyncSession, member_ids: Collection[int], *, now: datetime) -> set[int]:
        return set()

    async def write(self, session: AsyncSession, dues: Sequence[Due], *, now: datetime) -> Mapping[Key, str]:
        return {}

    def mass_message(self, due: Due) -> Message:
        return Message(text=f"您订阅的{due.title}{due.due_on:%m-%d}发货")

    async def to_do(self, session: AsyncSession, due: Due, why: str, *, now: datetime) -> str | None:
        return None


async def subscriptions(kind: str, url: str, size: Size) -> list[Row]:
    """One day: deliveries begin, three steps of the ladder fall due and leave, today's are ordered by default."""
    async with opened(url) as sessions:
        say(f"growth: {size.subscriptions:,} subscriptions into {kind}, {size.due:,} due today …")
        await _load_subscriptions(sessions, size)
        bare = await _timed(_one_pass(sessions))
        took = {}
        for name, step in (
            ("begun", subscription_days.begin),
            ("reminders noted", subscription_days.remind),
            ("reminders on their way", partial(subscription_reminders.dispatch, ways=Post())),
            ("ordered by default", subscription_days.order_due),
        ):
            took[name] = await _timed(_until_done(sessions, step))
        await _check(sessions, size)
    rows = [Row(f"{kind}, {size.due:,} due, {name}", "s", seconds, bare) for name, seconds in took.items()]
    return [*rows, Row(f"{kind}, {size.due:,} due, the daily run", "s", sum(took.values()), bare)]


async def _one_pass(sessions: Sessions) -> None:
    """The limit: each row that is due today changed, once, by one statement."""
    async with sessions.begin() as session:
        await session.execute(
            sa.text("UPDATE subscriptions SET number = number + 0, step = step WHERE due_on = :today").bindparams(
                sa.bindparam("today", TODAY, sa.Date())
            )
        )


async def _until_done(sessions: Sessions, step: Callable[..., Awaitable[int]]) -> None:
    done = 1
    while done:
        async with sessions.begin() as session:
            done = await step(session, now=NOW)


async def _check(sessions: Sessions, size: Size) -> None:
    """A figure for work that was not done is none."""
    async with sessions.read() as session:
        counts = {
            "orders": await session.scalar(sa.select(sa.func.count()).select_from(Order)),
            "ordered": await session.scalar(sa.select(sa.func.count()).where(Cycle.status == CycleStatus.ORDERED)),
            "reminders": await session.scalar(
                sa.select(sa.func.count()).where(Reminder.status == ReminderStatus.QUEUED)
            ),
        }
    assert counts == {"orders": size.due, "ordered": size.due, "reminders": 3 * size.due}, counts


async def _load_subscriptions(sessions: Sessions, size: Size) -> None:
    """Members with one contact and one subscription each, made inside the database; today's are announced."""
    days = (
        f"CASE WHEN i <= {size.due} THEN 0 WHEN i <= {2 * size.due} THEN 3 WHEN i <= {3 * size.due} THEN 7"
        " ELSE 8 + i % 20 END"
    )
    async with sessions.begin() as session:
        lite = is_sqlite(session)
        numbers = _numbers(session, size.subscriptions)
        due = f"date('{TODAY}', '+' || ({days}) || ' days')" if lite else f"date '{TODAY}' + ({days})"
        at, true = _instant(session, TODAY - timedelta(days=300)), "1" if lite else "true"
        code = "printf('%08d', i)" if lite else "lpad(i::text, 8, '0')"
        for statement in (
            f"INSERT INTO members (id, code, name, avatar, gender, source, joined_at)"
            f" SELECT i, {code}, '', '', 'unknown', 'import', {at} FROM ({numbers}) AS numbers",
            f"INSERT INTO identities (kind, value, member_id, added_at)"
            f" SELECT 'external_userid', 'wm' || i, i, {at} FROM ({numbers}) AS numbers",
            f"INSERT INTO staff (id, key, userid, name, active, follows)"
            f" SELECT i, 's' || i, 's' || i, '', {true}, {true} FROM ({numbers}) AS numbers WHERE i <= {STAFF}",
            f"INSERT INTO contacts (staff_id, member_id, external_userid, added_at, told_at, seen_at, state, remark,"
            f" description) SELECT i % {STAFF} + 1, i, 'wm' || i, {at}, {at}, {at}, '', '', ''"
            f" FROM ({numbers}) AS numbers",
            f"INSERT INTO subscription_plans (id, key, title, unit, every, on_holiday, locks_price, terms_id,"
            f" created_at) VALUES (1, '粮', '猫粮月套餐', 'months', 1, 'same', {true}, 1, {at})",
            f"INSERT INTO subscription_terms (id, plan_id, version, items, price_fen, gift_every, set_at)"
            f' VALUES (1, 1, 1, \'[{{"sku":"F1","name":"猫粮","category":"猫粮","quantity":1,"price_fen":9900}}]\','
            f" 9900, 4, {at})",
            f"INSERT INTO subscriptions (id, no, member_id, signed_by_id, plan_id, terms_id, status, mode, quantity,"
            f" anchor_on, step, due_on, number, bought, paused_because, ended_because, created_at)"
            f" SELECT i, {code}, i, i, 1, 1, 'active', 'default', 1, {due}, 0, {due}, 0, 0, '', '', {at}"
            f" FROM ({numbers}) AS numbers",
            f"INSERT INTO subscription_cycles (id, subscription_id, member_id, number, due_on, status, terms_id,"
            f" quantity, price_fen, is_gift, order_no, remind_on, ordered_by)"
            f" SELECT id, id, id, 1, due_on, 'announced', 1, 1, 9900, {'0' if lite else 'false'}, no || '-1',"
            f" {_day(session, TODAY)}, '' FROM subscriptions"
            f" WHERE due_on <= {_day(session, TODAY + timedelta(days=3))}",
            "UPDATE subscriptions SET cycle_id = id, number = 1 WHERE id IN (SELECT id FROM subscription_cycles)",
        ):
            await _run(session, statement)
        if not lite:
            last = "SELECT max(id) FROM subscription_cycles"
            await _run(session, f"SELECT setval(pg_get_serial_sequence('subscription_cycles', 'id'), ({last}))")
        await _run(session, "ANALYZE")


# Replenishment


async def habits(kind: str, url: str, size: Size) -> list[Row]:
    """Every member's habits counted anew, as the night does it, beside polars over the same lines."""
    async with opened(url) as sessions:
        say(f"growth: {size.lines:,} order lines into {kind} …")
        members = size.lines // (ORDERS_EACH * LINES_EACH)
        await _load_orders(sessions, members)
        seconds = await _timed(_count_habits(sessions, members))
        async with sessions.read() as session:
            believed = await session.scalar(sa.select(sa.func.count()).select_from(Replenishment)) or 0
        lines = await _columns(sessions, members)
    assert believed >= members, "everybody has one habit at least"
    try:
        peer = _by_polars(*lines)
    except ModuleNotFoundError:
        say("growth: polars is not installed, so there is nothing beside our figure (pip install polars)")
        return [Row(f"{kind}, habits", "order lines/s", size.lines / seconds)]
    return [Row(f"{kind}, habits", "order lines/s", size.lines / seconds, size.lines / peer)]


async def _count_habits(sessions: Sessions, members: int) -> None:
    for after in range(0, members, replenishment.WINDOW):
        async with sessions.begin() as session:
            await replenishment.refresh(session, after, after + replenishment.WINDOW, now=NOW)


async def _columns(sessions: Sessions, members: int) -> tuple[Any, Any, Any, Any]:
    """The same lines as columns of numbers, which costs polars nothing here."""
    names: dict[str, int] = {}
    parts: list[Any] = []
    for after in range(0, members, replenishment.WINDOW):
        async with sessions.read() as session:
            rows = await session.execute(
                sa.select(Order.member_id, OrderLine.sku, OrderLine.category, Order.paid_on)
                .join(OrderLine, OrderLine.order_id == Order.id)
                .where(Order.member_id > after, Order.member_id <= after + replenishment.WINDOW)
            )
            parts.append(
                np.array(
                    [
                        (
                            member,
                            names.setdefault(sku, len(names)),
                            names.setdefault(category, len(names)),
                            on.toordinal(),
                        )
                        for member, sku, category, on in rows
                        if on is not None
                    ],
                    dtype=np.int32,
                )
            )
    found = np.concatenate(parts)
    return found[:, 0], found[:, 1], found[:, 2], found[:, 3]


def _by_polars(member: Any, sku: Any, category: Any, day: Any) -> float:
    """Seconds for the medians and confidences of articles and categories."""
    import polars as pl

    frame = pl.DataFrame({"member": member, "sku": sku, "category": category, "day": day})
    _habits_of(frame.head(1000))  # its threads are awake
    return _habits_of(frame)


def _habits_of(frame: Any) -> float:
    import polars as pl

    began = time.perf_counter()
    for what in ("sku", "category"):
        gaps = (
            frame.select("member", what, "day")
            .unique()
            .sort("member", what, "day")
            .with_columns(gap=pl.col("day").diff().over("member", what))
        )
        medians = gaps.group_by("member", what).agg(
            median=pl.col("gap").median(), last=pl.col("day").max(), purchases=pl.len()
        )
        near = gaps.join(medians, on=["member", what]).filter(
            (pl.col("gap") - pl.col("median")).abs() <= 0.25 * pl.col("median")
        )
        near.group_by("member", what).agg(hits=pl.len())
    return time.perf_counter() - began


async def _load_orders(sessions: Sessions, members: int) -> None:
    """Everybody has an article they buy every so many days, and one that changes each time."""
    orders = members * ORDERS_EACH
    async with sessions.begin() as session:
        lite = is_sqlite(session)
        at = _instant(session, TODAY - timedelta(days=700))
        code = "printf('%08d', i)" if lite else "lpad(i::text, 8, '0')"
        member, turn = f"((i - 1) / {ORDERS_EACH} + 1)", f"((i - 1) % {ORDERS_EACH})"
        ago = f"({turn} * (20 + {member} % 40) + ({member} * 7 + i * 13) % 5)"
        on = f"date('{TODAY}', '-' || {ago} || ' days')" if lite else f"date '{TODAY}' - ({ago})::int"
        for statement in (
            f"INSERT INTO members (id, code, name, avatar, gender, source, joined_at)"
            f" SELECT i, {code}, '', '', 'unknown', 'import', {at} FROM ({_numbers(session, members)}) AS numbers",
            f"INSERT INTO orders (id, member_id, source, external_no, status, total_fen, paid_fen, refunded_fen,"
            f" placed_at, told_at, paid_at, paid_on)"
            f" SELECT i, {member}, 'bench', CAST(i AS TEXT), 'paid', 9900, 9900, 0, {at}, {at}, {at}, {on}"
            f" FROM ({_numbers(session, orders)}) AS numbers",
            f"INSERT INTO order_lines (order_id, line_no, sku, name, category, quantity, price_fen)"
            f" SELECT i, 1, 'F' || ({member} % 500), '猫粮', 'c' || ({member} % 20), 1, 6900"
            f" FROM ({_numbers(session, orders)}) AS numbers",
            f"INSERT INTO order_lines (order_id, line_no, sku, name, category, quantity, price_fen)"
            f" SELECT i, 2, 'T' || ((i * 31) % 3000), '玩具', 'd' || (i % 50), 1, 3000"
            f" FROM ({_numbers(session, orders)}) AS numbers",
        ):
            await _run(session, statement)
        await _run(session, "ANALYZE")


# What they share


def _numbers(session: AsyncSession, count: int) -> str:
    if is_sqlite(session):
        return f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) SELECT i FROM n"
    return f"SELECT i FROM generate_series(1, {count}) AS n(i)"


async def _run(session: AsyncSession, statement: str) -> None:
    """As it is written: JSON and casts have colons of their own."""
    await (await session.connection()).exec_driver_sql(statement)


def _instant(session: AsyncSession, on: date) -> str:
    return f"'{on} 00:00:00.000000'" if is_sqlite(session) else f"'{on} 00:00:00+00'::timestamptz"


def _day(session: AsyncSession, on: date) -> str:
    return f"'{on}'" if is_sqlite(session) else f"date '{on}'"


async def _timed(work: Awaitable[None]) -> float:
    began = time.perf_counter()
    await work
    return time.perf_counter() - began


async def items(kind: str, url: str, size: Size) -> list[Row]:
    return await bought_together(kind, url, size.lines)


PARTS: tuple[Callable[[str, str, Size], Coroutine[Any, Any, list[Row]]], ...] = (subscriptions, habits, items)


if __name__ == "__main__":
    command(measure, __doc__ or "")
