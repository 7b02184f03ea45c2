"""Orders: what a member bought, as the shop system tells it. (source, external_no) names one.

An order is a set of facts: when it was placed, paid, cancelled, and what was refunded. Its status follows from them,
so the same facts end in the same status whichever came first; what comes before its order waits in early_news.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from crm import early_news, holds, levels, lifecycle, order_changes, rfm
from crm.base import events
from crm.base.clock import SHANGHAI, local_day
from crm.base.db import hold
from crm.base.errors import Busy
from crm.early_news import Early, News
from crm.holds import PersonErased
from crm.models.order import Order, OrderLine, OrderStatus, Refund
from crm.order_changes import NOTHING, OrderChange, Standing, standing
from crm.order_terms import AmountInvalid, Line, RefundOfNobody, RefundToldDifferently, RefundTooLarge, Told

EVERY_ORDER = "orders"  # held shared by who tells of one order, alone by an import's batch


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderPlaced:
    """An order was told for the first time."""

    order_id: int
    member_id: int
    total_fen: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderPaid:
    """A member's order was paid. Read at least once, so reactions are idempotent."""

    order_id: int
    member_id: int
    paid_fen: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRefunded:
    """Money went back. order_id None: the refund names no order. is_full: nothing of the order's payment is left."""

    order_id: int | None
    member_id: int
    refund_id: int
    refund_fen: int
    is_full: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderCancelled:
    """An order was cancelled before it was paid."""

    order_id: int
    member_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderChanged:
    """The shop told a known order differently: its member, amounts, instants or lines."""

    order_id: int
    member_id: int


def status_of(paid_at: datetime | None, paid_fen: int, refunded_fen: int, cancelled_at: datetime | None) -> OrderStatus:
    """What an order's facts make of it. A payment outweighs a cancellation: money came, and has to go back."""
    if paid_at is None:
        return OrderStatus.PLACED if cancelled_at is None else OrderStatus.CANCELLED
    if not refunded_fen:
        return OrderStatus.PAID
    return OrderStatus.REFUNDED if refunded_fen >= paid_fen else OrderStatus.PARTLY_REFUNDED


async def find(session: AsyncSession, source: str, external_no: str) -> Order | None:
    found: Order | None = await session.scalar(
        sa.select(Order).where(Order.source == source, Order.external_no == external_no)
    )
    return found


async def find_refund(session: AsyncSession, source: str, refund_no: str) -> Refund | None:
    found: Refund | None = await session.scalar(
        sa.select(Refund).where(Refund.source == source, Refund.external_no == refund_no)
    )
    return found


async def latest_of(session: AsyncSession, member_id: int, *, limit: int = 3) -> list[Order]:
    """A member's newest orders, newest first."""
    rows = await session.scalars(
        sa.select(Order)
        .where(Order.member_id == member_id)
        .order_by(Order.placed_at.desc(), Order.id.desc())
        .limit(limit)
    )
    return list(rows)


async def lines_of(session: AsyncSession, order_id: int) -> list[OrderLine]:
    rows = await session.scalars(sa.select(OrderLine).where(OrderLine.order_id == order_id).order_by(OrderLine.line_no))
    return list(rows)


async def place(session: AsyncSession, told: Told, *, now: datetime, zone: ZoneInfo = SHANGHAI) -> Order:
    """Write an order down, or what changed in a known one; then whatever was told of it too early.

    Raises PersonErased when the order is new and its member was erased meanwhile.
    """
    for field in ("total_fen", "paid_fen", "refunded_fen"):
        if (fen := getattr(told, field) or 0) < 0:
            raise AmountInvalid(field, fen)
    held = await holds.hold_one(session, told.member_id)
    member_id = held.member_id
    order = await _held(session, told.source, told.external_no)
    is_newest = order is None or (told.told_at or now) >= order.told_at
    if order is None and held.is_erased:
        raise PersonErased
    if order is None:
        order = await _add(session, told, member_id, now=now)
    elif is_newest:
        await _change(session, order, told, member_id, now=now)
    if told.cancelled_at is not None:
        await _cancelled(session, order, at=told.cancelled_at, now=now)
    if told.paid_at is not None and (is_newest or _is_earlier(told.paid_at, order.paid_at)):
        await _paid(session, order, at=told.paid_at, fen=told.paid_fen, now=now, zone=zone)
    if told.refunded_fen is not None and told.refunded_fen > order.refunded_fen:
        number = f"{order.external_no}/{told.refunded_fen}"
        early = Early(
            kind=News.REFUNDED, at=told.told_at or now, fen=told.refunded_fen - order.refunded_fen, own_no=number
        )
        await _refunded(session, order, early, now=now, zone=zone)
    await _catch_up(session, order, now=now, zone=zone)
    return order


async def pay(
    session: AsyncSession,
    source: str,
    external_no: str,
    *,
    paid_at: datetime,
    paid_fen: int | None = None,
    now: datetime,
    zone: ZoneInfo = SHANGHAI,
) -> Order | None:
    """An order was paid, with its total unless said otherwise; the earliest payment told stands.

    None: the order is not known yet, and the payment waits for it.
    """
    if paid_fen is not None and paid_fen < 0:
        raise AmountInvalid("paid_fen", paid_fen)
    order = await _held(session, source, external_no)
    if order is None:
        early = Early(kind=News.PAID, at=paid_at, fen=paid_fen)
        await early_news.keep(session, source, external_no, early, now=now)
        return None
    if _is_earlier(paid_at, order.paid_at):
        await _paid(session, order, at=paid_at, fen=paid_fen, now=now, zone=zone)
        await _catch_up(session, order, now=now, zone=zone)
    return order


async def cancel(
    session: AsyncSession, source: str, external_no: str, *, cancelled_at: datetime, now: datetime
) -> Order | None:
    """An order was cancelled; a paid one keeps the fact and stays paid until it is refunded.

    None: the order is not known yet, and the cancellation waits for it.
    """
    order = await _held(session, source, external_no)
    if order is None:
        early = Early(kind=News.CANCELLED, at=cancelled_at)
        await early_news.keep(session, source, external_no, early, now=now)
        return None
    await _cancelled(session, order, at=cancelled_at, now=now)
    return order


async def refund(
    session: AsyncSession,
    source: str,
    refund_no: str,
    *,
    amount_fen: int,
    refunded_at: datetime,
    order_no: str | None = None,
    member_id: int | None = None,
    now: datetime,
    zone: ZoneInfo = SHANGHAI,
) -> Refund | None:
    """Money went back, once per refund number: of an order, or of a member when no order is named.

    None: the order, or its payment, is not known yet, and the refund waits for it.
    Raises RefundTooLarge, RefundToldDifferently, AmountInvalid or RefundOfNobody.
    """
    if amount_fen <= 0:
        raise AmountInvalid("amount_fen", amount_fen)
    early = Early(kind=News.REFUNDED, at=refunded_at, fen=amount_fen, own_no=refund_no)
    if order_no is None:
        if member_id is None:
            raise RefundOfNobody(refund_no)
        return await _refunded_at_large(
            session, source, await holds.hold(session, member_id), early, now=now, zone=zone
        )
    order = await _held(session, source, order_no)
    if order is None or order.paid_at is None:
        await early_news.keep(session, source, order_no, early, now=now)
        return None
    return await _refunded(session, order, early, now=now, zone=zone)


async def follow(session: AsyncSession, changes: Sequence[OrderChange], *, now: datetime) -> None:
    """What must be true of the members in the same transaction in which their orders changed."""
    await order_changes.add_up(session, changes)
    await rfm.follow(session, changes, now=now)
    await lifecycle.follow(session, changes, now=now)
    await levels.follow(session, changes, now=now)


async def _held(session: AsyncSession, source: str, external_no: str) -> Order | None:
    """The order, with its person and its name held until the transaction ends; people before orders, as merges do.

    Raises Busy when the order came, or changed hands, between the look and the lock.
    """
    owner = sa.select(Order.member_id).where(Order.source == source, Order.external_no == external_no)
    known = await session.scalar(owner)
    living = await holds.hold(session, known) if known is not None else None
    await hold(session, EVERY_ORDER, shared=True)
    await hold(session, f"order:{source}:{external_no}")
    order: Order | None = await session.scalar(
        sa.select(Order)
        .where(Order.source == source, Order.external_no == external_no)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if order is not None and living is not None and order.member_id != living:
        raise Busy(retry_after=0.1)
    return order


def _is_earlier(at: datetime, known: datetime | None) -> bool:
    return known is None or at < known


async def _paid(
    session: AsyncSession, order: Order, *, at: datetime, fen: int | None, now: datetime, zone: ZoneInfo
) -> None:
    paid_fen = order.total_fen if fen is None else fen
    if (order.paid_at, order.paid_fen) == (at, paid_fen):
        return
    if paid_fen < order.refunded_fen:
        raise AmountInvalid("paid_fen", paid_fen)
    before, first = standing(order), order.paid_at is None
    order.paid_at, order.paid_on, order.paid_fen = at, local_day(at, zone), paid_fen
    await _settle(session, order, before, at=at, now=now)
    told = OrderPaid(order_id=order.id, member_id=order.member_id, paid_fen=paid_fen)
    again = OrderChanged(order_id=order.id, member_id=order.member_id)
    await events.append(session, told if first else again, now=now)


async def _cancelled(session: AsyncSession, order: Order, *, at: datetime, now: datetime) -> None:
    if not _is_earlier(at, order.cancelled_at):
        return
    before, first = standing(order), order.cancelled_at is None
    order.cancelled_at = at
    await _settle(session, order, before, at=at, now=now)
    if first and order.paid_at is None:
        await events.append(session, OrderCancelled(order_id=order.id, member_id=order.member_id), now=now)


async def _refunded(session: AsyncSession, order: Order, early: Early, *, now: datetime, zone: ZoneInfo) -> Refund:
    """The WHERE clause is the guard: of any refunds at once, none takes more than is left."""
    fen = early.fen or 0
    if (known := await _known_refund(session, order.source, early)) is not None:
        return known
    before = standing(order)
    refunded = await session.scalar(
        sa.update(Order)
        .where(Order.id == order.id, Order.refunded_fen + fen <= Order.paid_fen)
        .values(refunded_fen=Order.refunded_fen + fen)
        .returning(Order.refunded_fen)
        .execution_options(synchronize_session=False)
    )
    if refunded is None:
        raise RefundTooLarge(early.own_no, fen, order.paid_fen - order.refunded_fen)
    order.refunded_fen = refunded
    return await _write_refund(session, order.source, order.member_id, order, early, before, now=now, zone=zone)


async def _refunded_at_large(
    session: AsyncSession, source: str, member_id: int, early: Early, *, now: datetime, zone: ZoneInfo
) -> Refund:
    await hold(session, EVERY_ORDER, shared=True)
    if (known := await _known_refund(session, source, early)) is not None:
        return known
    return await _write_refund(session, source, member_id, None, early, NOTHING, now=now, zone=zone)


async def _known_refund(session: AsyncSession, source: str, early: Early) -> Refund | None:
    """The refund that has this number. Raises RefundToldDifferently when its amount is another."""
    await hold(session, f"refund:{source}:{early.own_no}")
    known = await find_refund(session, source, early.own_no)
    if known is not None and known.amount_fen != early.fen:
        raise RefundToldDifferently(early.own_no, known.amount_fen, early.fen or 0)
    return known


async def _write_refund(
    session: AsyncSession,
    source: str,
    member_id: int,
    order: Order | None,
    early: Early,
    before: Standing,
    *,
    now: datetime,
    zone: ZoneInfo,
) -> Refund:
    made = Refund(
        member_id=member_id,
        order_id=order.id if order is not None else None,
        source=source,
        external_no=early.own_no,
        amount_fen=early.fen or 0,
        refunded_at=early.at,
        refunded_on=local_day(early.at, zone),
    )
    session.add(made)
    if order is not None:
        await _settle(session, order, before, at=early.at, now=now)
    else:
        await session.flush()
        after = Standing(refunded_fen=made.amount_fen)
        await follow(session, [OrderChange(order_id=None, member_id=member_id, after=after, at=early.at)], now=now)
    is_full = order is not None and order.status is OrderStatus.REFUNDED
    told = OrderRefunded(
        order_id=made.order_id, member_id=member_id, refund_id=made.id, refund_fen=made.amount_fen, is_full=is_full
    )
    await events.append(session, told, now=now)
    return made


async def _settle(session: AsyncSession, order: Order, before: Standing, *, at: datetime, now: datetime) -> None:
    order.status = status_of(order.paid_at, order.paid_fen, order.refunded_fen, order.cancelled_at)
    await session.flush()
    change = OrderChange(order_id=order.id, member_id=order.member_id, before=before, after=standing(order), at=at)
    await follow(session, [change], now=now)


async def _catch_up(session: AsyncSession, order: Order, *, now: datetime, zone: ZoneInfo) -> None:
    """Apply what was told of this order too early. What cannot be applied stays, with the reason."""
    for row, early in await early_news.waiting(session, order.source, order.external_no):
        if early.kind is News.CANCELLED:
            await _cancelled(session, order, at=early.at, now=now)
        elif early.kind is News.PAID:
            if _is_earlier(early.at, order.paid_at):
                await _paid(session, order, at=early.at, fen=early.fen, now=now, zone=zone)
        elif order.paid_at is None:
            continue
        else:
            try:
                await _refunded(session, order, early, now=now, zone=zone)
            except (RefundTooLarge, RefundToldDifferently) as refusal:
                row.refused = refusal.code
                continue
        await session.delete(row)
    await session.flush()


async def _add(session: AsyncSession, told: Told, member_id: int, *, now: datetime) -> Order:
    order = Order(
        member_id=member_id,
        source=told.source,
        external_no=told.external_no,
        status=OrderStatus.PLACED,
        total_fen=told.total_fen,
        paid_fen=0,
        refunded_fen=0,
        placed_at=told.placed_at,
        told_at=told.told_at or now,
    )
    session.add(order)
    await session.flush()
    _write_lines(session, order, told.lines or ())
    placed = OrderChange(order_id=order.id, member_id=member_id, after=standing(order), at=order.placed_at)
    await follow(session, [placed], now=now)
    await events.append(
        session, OrderPlaced(order_id=order.id, member_id=member_id, total_fen=order.total_fen), now=now
    )
    return order


async def _change(session: AsyncSession, order: Order, told: Told, member_id: int, *, now: datetime) -> None:
    """Take over a newer telling of what was ordered, and by whom."""
    seen = (order.member_id, order.total_fen, order.placed_at)
    order.told_at = told.told_at or now
    changed = seen != (member_id, told.total_fen, told.placed_at)
    if told.lines is not None and [_plain(line) for line in await lines_of(session, order.id)] != list(told.lines):
        await session.execute(sa.delete(OrderLine).where(OrderLine.order_id == order.id))
        _write_lines(session, order, told.lines)
        changed = True
    if not changed:
        return
    was, before = order.member_id, standing(order)
    order.total_fen, order.placed_at, order.member_id = told.total_fen, told.placed_at, member_id
    await session.flush()
    if was != member_id:
        await session.execute(sa.update(Refund).where(Refund.order_id == order.id).values(member_id=member_id))
        gone = OrderChange(order_id=order.id, member_id=was, before=before, after=NOTHING, at=order.told_at)
        came = OrderChange(order_id=order.id, member_id=member_id, after=before, at=order.told_at)
        await follow(session, [gone, came], now=now)
    await events.append(session, OrderChanged(order_id=order.id, member_id=member_id), now=now)


def _write_lines(session: AsyncSession, order: Order, lines: Sequence[Line]) -> None:
    session.add_all(
        OrderLine(
            order_id=order.id,
            line_no=line_no,
            sku=line.sku,
            name=line.name,
            category=line.category,
            quantity=line.quantity,
            price_fen=line.price_fen,
        )
        for line_no, line in enumerate(lines, 1)
    )


def _plain(line: OrderLine) -> Line:
    return Line(sku=line.sku, name=line.name, category=line.category, quantity=line.quantity, price_fen=line.price_fen)
