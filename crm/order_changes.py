"""What the change of an order means for its member: before and after, and the member's totals.

The totals in `member_orders` move with each change by a delta, so an order costs the same however many came before.
Only when an order stops counting are that member's dates read again.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from crm.base.db import insert_rows, is_among
from crm.models.order import MemberOrders, Order, OrderStatus, Refund


class Standing(NamedTuple):
    """What an order amounts to at one moment. A tuple: an import makes one an order, at half of what a class costs."""

    status: OrderStatus | None = None  # None: there is no order (yet)
    paid_at: datetime | None = None
    paid_on: date | None = None  # shop-local
    paid_fen: int = 0
    refunded_fen: int = 0

    @property
    def counts(self) -> bool:
        """Whether it is one of the orders that RFM counts."""
        return self.paid_at is not None and self.refunded_fen < self.paid_fen

    @property
    def net_fen(self) -> int:
        return self.paid_fen - self.refunded_fen


NOTHING = Standing()


class OrderChange(NamedTuple):
    """One order before and after; `order_id` None is a refund that names no order, `after.refunded_fen` its amount."""

    order_id: int | None
    member_id: int
    after: Standing
    at: datetime  # when it happened at the shop: paid, refunded, placed or cancelled
    before: Standing = NOTHING


def standing(order: Order) -> Standing:
    return Standing(
        status=order.status,
        paid_at=order.paid_at,
        paid_on=order.paid_on,
        paid_fen=order.paid_fen,
        refunded_fen=order.refunded_fen,
    )


def counting() -> sa.ColumnElement[bool]:
    """SQL for Standing.counts of a row of `orders`."""
    return sa.and_(Order.paid_at.is_not(None), Order.refunded_fen < Order.paid_fen)


async def add_up(session: AsyncSession, changes: Sequence[OrderChange]) -> None:
    """Move the totals of the members concerned."""
    moves: dict[int, _Move] = {}
    stale: set[int] = set()
    for change in changes:
        member_id, before, after = change.member_id, change.before, change.after
        if (move := moves.get(member_id)) is None:
            move = moves[member_id] = _Move()
        counts, counted = after.counts, before.counts
        move.orders += counts - counted
        move.paid_fen += after.paid_fen - before.paid_fen
        move.refunded_fen += after.refunded_fen - before.refunded_fen
        if counts and after.paid_at is not None:
            if move.first_paid_at is None or after.paid_at < move.first_paid_at:
                move.first_paid_at = after.paid_at
            if move.last_paid_at is None or move.last_paid_at < after.paid_at:
                move.last_paid_at, move.last_paid_on = after.paid_at, after.paid_on
        if counted and (not counts or after.paid_at != before.paid_at):
            stale.add(member_id)
    await _write(session, moves)
    if stale:
        await _read_again(session, stale)


async def recount(session: AsyncSession, member_ids: Collection[int]) -> None:
    """Make these members' totals anew from their orders and refunds."""
    await _write(session, {member_id: _Move() for member_id in member_ids})
    await _read_again(session, member_ids)


@dataclass(slots=True)
class _Move:
    """By how much one member's totals move."""

    orders: int = 0
    paid_fen: int = 0
    refunded_fen: int = 0
    first_paid_at: datetime | None = None
    last_paid_at: datetime | None = None
    last_paid_on: date | None = None


_COLUMNS = ("member_id", "orders", "paid_fen", "refunded_fen", "first_paid_at", "last_paid_at", "last_paid_on")


async def _write(session: AsyncSession, moves: Mapping[int, _Move]) -> None:
    """The rows are locked from here to the commit, so what is read after it cannot be outrun."""
    rows = [
        (member_id, one.orders, one.paid_fen, one.refunded_fen, one.first_paid_at, one.last_paid_at, one.last_paid_on)
        for member_id, one in sorted(moves.items())
    ]
    await insert_rows(session, MemberOrders.__table__, _COLUMNS, rows, conflict=_ADD)


def _better(name: str, sign: str) -> str:
    mine, new = f"member_orders.{name}", f"excluded.{name}"
    return f"{name} = CASE WHEN {new} IS NULL OR {mine} {sign} {new} THEN {mine} ELSE {new} END"


_SUMS = ", ".join(f"{name} = member_orders.{name} + excluded.{name}" for name in ("orders", "paid_fen", "refunded_fen"))
_FIRST = _better("first_paid_at", "<")
_LAST = ", ".join(_better(name, ">") for name in ("last_paid_at", "last_paid_on"))
_ADD = f"(member_id) DO UPDATE SET {_SUMS}, {_FIRST}, {_LAST}"


async def _read_again(session: AsyncSession, member_ids: Collection[int]) -> None:
    counts, nothing = counting(), sa.literal(0)

    def of_orders(value: sa.ColumnElement[Any]) -> sa.ScalarSelect[Any]:
        return sa.select(value).where(Order.member_id == MemberOrders.member_id).scalar_subquery()

    refunded = sa.select(sa.func.coalesce(sa.func.sum(Refund.amount_fen), nothing))
    await session.execute(
        sa.update(MemberOrders)
        .where(is_among(session, MemberOrders.member_id, sorted(set(member_ids))))
        .values(
            orders=of_orders(sa.func.coalesce(sa.func.sum(sa.case((counts, 1), else_=0)), nothing)),
            paid_fen=of_orders(sa.func.coalesce(sa.func.sum(Order.paid_fen), nothing)),
            refunded_fen=refunded.where(Refund.member_id == MemberOrders.member_id).scalar_subquery(),
            first_paid_at=of_orders(sa.func.min(sa.case((counts, Order.paid_at)))),
            last_paid_at=of_orders(sa.func.max(sa.case((counts, Order.paid_at)))),
            last_paid_on=of_orders(sa.func.max(sa.case((counts, Order.paid_on)))),
        )
        .execution_options(synchronize_session=False)
    )
