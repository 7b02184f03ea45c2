"""What members bought in a window: one SELECT over orders and refunds, for everybody or for some, as of any day.

An order counts by the day it was paid, and what went back of it goes with it. A refund that names no order counts by
its own day and lowers the money alone. As of a past day, what was refunded later had not happened yet.
"""

from collections.abc import Collection
from datetime import date, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from crm.base.bulk import day_number, number_of_day, read_numbers
from crm.base.db import BigInt
from crm.models.order import Order, Refund
from crm.rfm_rules import Ints, Population, Rule


def window_start(as_of: date, rule: Rule) -> date:
    """The first day that counts: the window is the rule's days before `as_of`."""
    return as_of - timedelta(days=rule.window_days)


async def population(session: AsyncSession, as_of: date, rule: Rule) -> Population:
    """Everybody with a counted order in the window before `as_of`, from the orders themselves."""
    rows = await read_numbers(session, totals(session, since=window_start(as_of, rule), until=as_of))
    return population_of(rows[rows[:, 1] > 0], as_of)


def population_of(rows: Ints, as_of: date) -> Population:
    """Rows of totals() as columns; all of them have an order."""
    return Population(rows[:, 0], day_number(as_of) - rows[:, 3], rows[:, 1], rows[:, 2])


def totals(
    session: AsyncSession,
    *,
    since: date,
    until: date | None = None,
    members: Any | Collection[int] | None = None,
    hindsight: bool = False,
) -> sa.Select[*tuple[Any, ...]]:
    """SELECT member_id, frequency, monetary_fen, last_paid_day of [since, until); the day is 0 where no order counts.

    until None: all that is known. members: ids or a SELECT of them; None: everybody.
    hindsight: what was refunded from `until` on is taken off all the same.
    """
    parts = sa.union_all(_sales(since, until, members, hindsight), _loose_refunds(since, until, members)).subquery()
    last_day = number_of_day(session, sa.func.max(parts.c.last_on))
    return sa.select(
        parts.c.member_id,
        sa.cast(sa.func.sum(parts.c.frequency), BigInt).label("frequency"),
        sa.cast(sa.func.sum(parts.c.monetary_fen), BigInt).label("monetary_fen"),
        sa.func.coalesce(last_day, 0).label("last_paid_day"),
    ).group_by(parts.c.member_id)


def _sales(since: date, until: date | None, members: Any, hindsight: bool) -> sa.Select[*tuple[Any, ...]]:
    net: sa.ColumnElement[int] = Order.paid_fen - Order.refunded_fen
    rows = sa.select(Order.member_id).where(Order.paid_on >= since)
    if until is not None:
        rows = rows.where(Order.paid_on < until)
    if until is not None and not hindsight:
        later = (
            sa.select(Refund.order_id, sa.func.sum(Refund.amount_fen).label("fen"))
            .where(Refund.order_id.is_not(None), Refund.refunded_on >= until)
            .group_by(Refund.order_id)
            .subquery()
        )
        net = net + sa.func.coalesce(later.c.fen, 0)
        rows = rows.outerjoin(later, later.c.order_id == Order.id)
    if members is not None:
        rows = rows.where(Order.member_id.in_(members))
    return rows.add_columns(
        sa.func.sum(sa.case((net > 0, 1), else_=0)).label("frequency"),
        sa.func.sum(net).label("monetary_fen"),
        sa.func.max(sa.case((net > 0, Order.paid_on))).label("last_on"),
    ).group_by(Order.member_id)


def _loose_refunds(since: date, until: date | None, members: Any) -> sa.Select[*tuple[Any, ...]]:
    rows = sa.select(
        Refund.member_id,
        sa.literal(0),
        -sa.func.sum(Refund.amount_fen),
        sa.cast(sa.null(), sa.Date),
    ).where(Refund.order_id.is_(None), Refund.refunded_on >= since)
    if until is not None:
        rows = rows.where(Refund.refunded_on < until)
    if members is not None:
        rows = rows.where(Refund.member_id.in_(members))
    return rows.group_by(Refund.member_id)
