"""Orders: what a member bought, as the shop system tells it. (source, external_no) names one."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from crm.base.db import insert
from crm.models.order import Order, OrderLine, OrderStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One article of an order. price_fen: of one piece."""

    sku: str
    name: str
    category: str = ""
    quantity: int = 1
    price_fen: int


async def record(
    session: AsyncSession,
    *,
    member_id: int,
    source: str,
    external_no: str,
    status: OrderStatus,
    placed_at: datetime,
    paid_at: datetime | None = None,
    total_fen: int,
    lines: Sequence[Line] = (),
) -> Order:
    """Write an order down once; returns the order that has this number, as it was first told."""
    added = (
        insert(session, Order)
        .values(
            member_id=member_id,
            source=source,
            external_no=external_no,
            status=status,
            placed_at=placed_at,
            paid_at=paid_at,
            total_fen=total_fen,
        )
        .on_conflict_do_nothing(index_elements=["source", "external_no"])
        .returning(Order.id)
    )
    order_id = await session.scalar(added)
    if order_id is not None:
        session.add_all(
            OrderLine(
                order_id=order_id,
                line_no=line_no,
                sku=line.sku,
                name=line.name,
                category=line.category,
                quantity=line.quantity,
                price_fen=line.price_fen,
            )
            for line_no, line in enumerate(lines, 1)
        )
        await session.flush()
    return (
        await session.scalars(sa.select(Order).where(Order.source == source, Order.external_no == external_no))
    ).one()


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
