"""Orders and refunds by the thousand, as an import brings them: new ones set-wise, changed ones by the verbs.

One batch is one transaction's work. Most rows of a file are either new, and inserted together, or known and unchanged,
and left alone; only what is left goes through orders.place(), one by one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from crm import orders
from crm.base import events
from crm.base.clock import SHANGHAI, local_day
from crm.base.db import hold, insert_new, insert_rows, is_among, next_ids
from crm.base.errors import ShopError
from crm.models.order import EarlyNews, Order, OrderLine, OrderStatus, Refund
from crm.order_changes import OrderChange, Standing
from crm.order_terms import Line, Told
from crm.orders import EVERY_ORDER, OrderPaid, OrderPlaced, OrderRefunded

NEWS_FOR = timedelta(days=7)  # older orders are history: nobody is welcomed for a purchase of two years ago
KNOWN = (
    *(Order.id, Order.external_no, Order.member_id, Order.total_fen, Order.placed_at),
    *(Order.paid_at, Order.paid_fen, Order.cancelled_at, Order.refunded_fen),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldRefund:
    """A refund that names no order."""

    source: str
    external_no: str
    member_id: int
    amount_fen: int
    refunded_at: datetime


@dataclass(slots=True)
class Written:
    """How a batch went: what was new, what changed something known, what was known already."""

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    refused: list[tuple[Told, ShopError]] = field(default_factory=list)  # contradict what is known

    def __iadd__(self, other: "Written") -> "Written":
        self.added += other.added
        self.changed += other.changed
        self.unchanged += other.unchanged
        self.refused += other.refused
        return self


async def place_all(
    session: AsyncSession, told: Sequence[Told], *, now: datetime, zone: ZoneInfo = SHANGHAI
) -> Written:
    """Write down orders of one source, each number once; members are alive and held by the caller."""
    if not told:
        return Written()
    await hold(session, EVERY_ORDER)
    source, numbers = told[0].source, [one.external_no for one in told]
    known = {
        row.external_no: row
        for row in await session.execute(
            sa.select(*KNOWN).where(Order.source == source, is_among(session, Order.external_no, numbers))
        )
    }
    lines = await _known_lines(session, [row.id for row in known.values()]) if known else {}
    early = set(
        await session.scalars(
            sa.select(EarlyNews.order_no).where(
                EarlyNews.source == source, is_among(session, EarlyNews.order_no, numbers)
            )
        )
    )
    fresh, rest, written = [], [], Written()
    for one in told:
        row = known.get(one.external_no)
        if row is None and one.external_no not in early and not one.refunded_fen:
            fresh.append(one)
        elif row is not None and one.external_no not in early and _is_same(one, row, lines.get(row.id, [])):
            written.unchanged += 1
        else:
            rest.append(one)
    await _add_all(session, fresh, now=now, zone=zone)
    written.added += len(fresh)
    for one in rest:
        try:
            async with session.begin_nested():
                await orders.place(session, one, now=now, zone=zone)
        except ShopError as error:
            written.refused.append((one, error))
        else:
            written += Written(added=one.external_no not in known, changed=one.external_no in known)
    return written


async def refund_all(
    session: AsyncSession, told: Sequence[ToldRefund], *, now: datetime, zone: ZoneInfo = SHANGHAI
) -> Written:
    """Write down refunds of one source that name no order, each number once. Known ones stay as they are."""
    if not told:
        return Written()
    await hold(session, EVERY_ORDER)
    rows = [
        {
            "member_id": one.member_id,
            "order_id": None,
            "source": one.source,
            "external_no": one.external_no,
            "amount_fen": one.amount_fen,
            "refunded_at": one.refunded_at,
            "refunded_on": local_day(one.refunded_at, zone),
        }
        for one in told
    ]
    new_ids = await insert_new(session, rows, returning=Refund.id)
    new = list(await session.scalars(sa.select(Refund).where(is_among(session, Refund.id, new_ids)))) if new_ids else []
    changes = [
        OrderChange(
            order_id=None, member_id=row.member_id, after=Standing(refunded_fen=row.amount_fen), at=row.refunded_at
        )
        for row in new
    ]
    await orders.follow(session, changes, now=now)
    news = [
        OrderRefunded(
            order_id=None, member_id=row.member_id, refund_id=row.id, refund_fen=row.amount_fen, is_full=False
        )
        for row in new
        if row.refunded_at > now - NEWS_FOR
    ]
    await events.append_all(session, news, now=now)
    return Written(added=len(new), unchanged=len(told) - len(new))


def _is_same(told: Told, row: Any, lines: Sequence[Line]) -> bool:
    paid_fen = told.total_fen if told.paid_fen is None else told.paid_fen
    return (
        (row.member_id, row.total_fen, row.placed_at) == (told.member_id, told.total_fen, told.placed_at)
        and (told.paid_at is None or (row.paid_at, row.paid_fen) == (told.paid_at, paid_fen))
        and (told.cancelled_at is None or (row.cancelled_at is not None and row.cancelled_at <= told.cancelled_at))
        and (told.refunded_fen is None or told.refunded_fen <= row.refunded_fen)
        and (told.lines is None or list(told.lines) == lines)
    )


async def _known_lines(session: AsyncSession, order_ids: Sequence[int]) -> Mapping[int, list[Line]]:
    rows = await session.execute(
        sa.select(
            *(OrderLine.order_id, OrderLine.sku, OrderLine.name, OrderLine.category),
            *(OrderLine.quantity, OrderLine.price_fen),
        )
        .where(is_among(session, OrderLine.order_id, order_ids))
        .order_by(OrderLine.order_id, OrderLine.line_no)
    )
    found: dict[int, list[Line]] = {}
    for order_id, sku, name, category, quantity, price_fen in rows:
        line = Line(sku=sku, name=name, category=category, quantity=quantity, price_fen=price_fen)
        found.setdefault(order_id, []).append(line)
    return found


async def _add_all(session: AsyncSession, told: Sequence[Told], *, now: datetime, zone: ZoneInfo) -> None:
    if not told:
        return
    days: dict[date, date] = {}  # one object a day, written as text once
    began = [_beginning(one, zone, days) for one in told]
    ids = await next_ids(session, _orders, len(told))
    rows = [
        (
            *(order_id, one.member_id, one.source, one.external_no, after.status),
            *(one.total_fen, after.paid_fen, 0),
            *(one.placed_at, one.told_at or now, after.paid_at, after.paid_on, one.cancelled_at),
        )
        for order_id, one, after in zip(ids, told, began, strict=True)
    ]
    await insert_rows(session, _orders, _ORDER, rows)
    await _add_lines(session, told, ids)
    changes = [
        OrderChange(order_id, one.member_id, after, after.paid_at or one.placed_at)
        for order_id, one, after in zip(ids, told, began, strict=True)
    ]
    await orders.follow(session, changes, now=now)
    since = now - NEWS_FOR
    recent = [
        (one, change)
        for one, change in zip(told, changes, strict=True)
        if one.placed_at > since or (change.after.paid_at is not None and change.after.paid_at > since)
    ]
    await events.append_all(session, [event for one, change in recent for event in _news(one, change)], now=now)


_orders: Any = Order.__table__
_ORDER = (
    *("id", "member_id", "source", "external_no", "status", "total_fen", "paid_fen", "refunded_fen"),
    *("placed_at", "told_at", "paid_at", "paid_on", "cancelled_at"),
)
_LINE = ("order_id", "line_no", "sku", "name", "category", "quantity", "price_fen")


def _beginning(told: Told, zone: ZoneInfo, days: dict[date, date]) -> Standing:
    """What a new order amounts to."""
    paid_at, paid_fen, paid_on = told.paid_at, 0, None
    if paid_at is not None:
        paid_fen = told.total_fen if told.paid_fen is None else told.paid_fen
        paid_on = local_day(paid_at, zone)
        paid_on = days.setdefault(paid_on, paid_on)
    return Standing(orders.status_of(paid_at, paid_fen, 0, told.cancelled_at), paid_at, paid_on, paid_fen)


async def _add_lines(session: AsyncSession, told: Sequence[Told], ids: Sequence[int]) -> None:
    rows = [
        (order_id, line_no, line.sku, line.name, line.category, line.quantity, line.price_fen)
        for order_id, one in zip(ids, told, strict=True)
        if one.lines
        for line_no, line in enumerate(one.lines, 1)
    ]
    await insert_rows(session, OrderLine.__table__, _LINE, rows)


def _news(told: Told, change: OrderChange) -> list[OrderPlaced | OrderPaid]:
    order_id, member_id, after = change.order_id or 0, told.member_id, change.after
    news: list[OrderPlaced | OrderPaid] = [
        OrderPlaced(order_id=order_id, member_id=member_id, total_fen=told.total_fen)
    ]
    if after.status is OrderStatus.PAID:
        news.append(OrderPaid(order_id=order_id, member_id=member_id, paid_fen=after.paid_fen))
    return news
