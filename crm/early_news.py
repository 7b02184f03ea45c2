"""News of an order that came before what it builds on: kept until that arrives, then handed out once.

A shop system's messages overtake each other: a refund may be told before the payment, a cancellation before the order.
Callers hold the order's name (orders.order_held), so nothing is kept at the moment in which it is being looked for.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from crm.base.db import insert
from crm.models.order import EarlyNews


class News(StrEnum):
    """In the order in which they are applied."""

    CANCELLED = "cancelled"
    PAID = "paid"
    REFUNDED = "refunded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Early:
    """What was told. own_no: of the refund; fen: what was paid or refunded, None as much as the order's total."""

    kind: News
    at: datetime
    fen: int | None = None
    own_no: str = ""


async def keep(session: AsyncSession, source: str, order_no: str, early: Early, *, now: datetime) -> None:
    """Write it down; told again, the earliest payment or cancellation stands, and a refund stays as it was."""
    body = {"at": early.at.isoformat(), "fen": early.fen}
    known = await session.scalar(sa.select(EarlyNews).where(*_of(source, order_no, early)))
    if known is None:
        row = {
            "source": source,
            "order_no": order_no,
            "kind": early.kind,
            "own_no": early.own_no,
            "body": body,
            "came_at": now,
            "refused": "",
        }
        await session.execute(insert(session, EarlyNews).values(row).on_conflict_do_nothing())
    elif early.kind is not News.REFUNDED and early.at < datetime.fromisoformat(known.body["at"]):
        known.body = body
        await session.flush()


async def waiting(session: AsyncSession, source: str, order_no: str) -> list[tuple[EarlyNews, Early]]:
    """What waits for this order, in the order in which it shall be applied."""
    rows = await session.scalars(
        sa.select(EarlyNews).where(EarlyNews.source == source, EarlyNews.order_no == order_no).order_by(EarlyNews.id)
    )
    found = [
        (
            row,
            Early(
                kind=News(row.kind),
                at=datetime.fromisoformat(row.body["at"]),
                fen=row.body["fen"],
                own_no=row.own_no,
            ),
        )
        for row in rows
    ]
    turn = list(News)
    return sorted(found, key=lambda pair: (turn.index(pair[1].kind), pair[1].at, pair[1].own_no))


def _of(source: str, order_no: str, early: Early) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        EarlyNews.source == source,
        EarlyNews.order_no == order_no,
        EarlyNews.kind == early.kind,
        EarlyNews.own_no == early.own_no,
    )
