"""Orders and refunds by the thousand, as an import brings them: new ones set-wise, changed ones by the verbs.

One batch is one transaction's work. Most rows of a file are either new, and inserted together, or known and unchanged,
and left alone; only what is left goes through orders.place(), one by one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from crm import orders
from crm.base import events
from crm.base.clock import SHANGHAI, local_day
from crm.base.db import hold, insert_all, insert_new, is_among
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
    rows = [_row(one, now=now, zone=zone) for one in told]
    await insert_all(session, Order.__table__, rows)
    ids = await _ids_of(session, told)
    await _add_lines(session, told, ids)
    changes = [
        OrderChange(
            order_id=ids[row["external_no"]],
            member_id=row["member_id"],
            after=Standing(
                status=row["status"], paid_at=row["paid_at"], paid_on=row["paid_on"], paid_fen=row["paid_fen"]
            ),
            at=row["paid_at"] or row["placed_at"],
        )
        for row in rows
    ]
    await orders.follow(session, changes, now=now)
    recent = [row for row in rows if max(row["placed_at"], row["paid_at"] or row["placed_at"]) > now - NEWS_FOR]
    await events.append_all(session, [event for row in recent for event in _news(row, ids)], now=now)


def _row(told: Told, *, now: datetime, zone: ZoneInfo) -> dict[str, Any]:
    paid_fen = 0
    if told.paid_at is not None:
        paid_fen = told.total_fen if told.paid_fen is None else told.paid_fen
    return {
        "member_id": told.member_id,
        "source": told.source,
        "external_no": told.external_no,
        "status": orders.status_of(told.paid_at, paid_fen, 0, told.cancelled_at),
        "total_fen": told.total_fen,
        "paid_fen": paid_fen,
        "refunded_fen": 0,
        "placed_at": told.placed_at,
        "told_at": told.told_at or now,
        "paid_at": told.paid_at,
        "paid_on": local_day(told.paid_at, zone) if told.paid_at is not None else None,
        "cancelled_at": told.cancelled_at,
    }


async def _ids_of(session: AsyncSession, told: Sequence[Told]) -> dict[str, int]:
    rows = await session.execute(
        sa.select(Order.external_no, Order.id).where(
            Order.source == told[0].source, is_among(session, Order.external_no, [one.external_no for one in told])
        )
    )
    return {row.external_no: row.id for row in rows}


async def _add_lines(session: AsyncSession, told: Sequence[Told], ids: Mapping[str, int]) -> None:
    rows = [
        {
            "order_id": ids[one.external_no],
            "line_no": line_no,
            "sku": line.sku,
            "name": line.name,
            "category": line.category,
            "quantity": line.quantity,
            "price_fen": line.price_fen,
        }
        for one in told
        for line_no, line in enumerate(one.lines or (), 1)
    ]
    await insert_all(session, OrderLine.__table__, rows)


def _news(row: Mapping[str, Any], ids: Mapping[str, int]) -> list[OrderPlaced | OrderPaid]:
    order_id, member_id = ids[row["external_no"]], row["member_id"]
    news: list[OrderPlaced | OrderPaid] = [
        OrderPlaced(order_id=order_id, member_id=member_id, total_fen=row["total_fen"])
    ]
    if row["status"] is OrderStatus.PAID:
        news.append(OrderPaid(order_id=order_id, member_id=member_id, paid_fen=row["paid_fen"]))
    return news
