"""Deliveries: begun when their time comes, ordered once, closed once; each close sets the day of the next.

The guard of every step is the status a delivery must still have, so of a member's word, the clock's and the bank's
one comes first and the others find it gone.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns.models.subscription import (
    Cycle,
    CycleStatus,
    PlanTerms,
    Subscription,
    SubscriptionPlan,
    SubscriptionStatus,
)
from campaigns.subscription_plans import rhythm_of, terms_for
from campaigns.subscription_rules import LADDER, next_dunning, owed_since
from campaigns.subscription_terms import PaidAlready, PaymentDiffers, SubscriptionNotFound, TooLate
from crm import holds, orders
from crm.base.clock import local_day
from crm.base.db import is_among
from crm.models.order import Order
from crm.order_terms import Line, Told

SOURCE = "subscription"  # of the orders that deliveries become
AHEAD = timedelta(days=max(LADDER))
TOGETHER = 2000
OPEN = (CycleStatus.ANNOUNCED, CycleStatus.ORDERED)
UNPAID_PAUSE = "unpaid"
_quiet = {"synchronize_session": False}
_cycles: Any = Cycle.__table__


# Begun


async def announce(session: AsyncSession, *where: sa.ColumnElement[bool], now: datetime, limit: int = TOGETHER) -> int:
    """Begin the deliveries that come within the ladder; price, articles and gift are fixed here. Returns how many."""
    today = local_day(now)
    coming = (
        Subscription.status == SubscriptionStatus.ACTIVE,
        Subscription.cycle_id.is_(None),
        Subscription.due_on <= today + AHEAD,
        *where,
    )
    some = sa.select(Subscription.id).where(*coming).order_by(Subscription.due_on, Subscription.id).limit(limit)
    ids = list(await session.scalars(some.with_for_update(skip_locked=True)))
    if not ids:
        return 0
    gift = sa.and_(PlanTerms.gift_every > 0, Subscription.bought >= PlanTerms.gift_every - 1)
    number = Subscription.number + 1
    rows = (
        sa.select(
            Subscription.id,
            Subscription.member_id,
            number,
            Subscription.due_on,
            _told(Cycle.status, CycleStatus.ANNOUNCED),
            PlanTerms.id,
            Subscription.quantity,
            sa.case((gift, 0), else_=PlanTerms.price_fen * Subscription.quantity),
            gift,
            Subscription.no + "-" + sa.cast(number, sa.String),
            _told(Cycle.remind_on, today),
            _told(Cycle.ordered_by, ""),
        )
        .join(SubscriptionPlan, SubscriptionPlan.id == Subscription.plan_id)
        .join(PlanTerms, PlanTerms.id == terms_for())
        .where(is_among(session, Subscription.id, ids))
    )
    names = ["subscription_id", "member_id", "number", "due_on", "status", "terms_id", "quantity", "price_fen",
             "is_gift", "order_no", "remind_on", "ordered_by"]  # fmt: skip
    await session.execute(sa.insert(_cycles).from_select(names, rows, include_defaults=False))
    opened = (
        sa.select(Cycle.id)
        .where(Cycle.subscription_id == Subscription.id, Cycle.closed_at.is_(None))
        .correlate(Subscription)
        .scalar_subquery()
    )
    begun = sa.update(Subscription).where(is_among(session, Subscription.id, ids))
    await session.execute(begun.values(cycle_id=opened, number=number), execution_options=_quiet)
    return len(ids)


def _told(column: Any, value: Any) -> sa.ColumnElement[Any]:
    return sa.literal(value, column.type)


# Ordered


async def order(session: AsyncSession, subscription: Subscription, cycle: Cycle, *, by: str, now: datetime) -> Order:
    """Place the order of an announced delivery; the caller holds its person. Raises TooLate."""
    taken = await take(session, [cycle.id], by=by, now=now)
    if not taken:
        raise TooLate(await _stands(session, cycle.id))
    [told] = await told_of(session, taken, now=now)
    placed = await orders.place(session, told, now=now)
    if cycle.is_gift:
        await settle(session, [cycle.id], now=now)
    return placed


async def take(session: AsyncSession, cycle_ids: Sequence[int], *, by: str, now: datetime) -> list[Cycle]:
    """Of these deliveries those that were still announced and are ordered from here on: whoever gets one places it."""
    today = local_day(now)
    taken = (
        sa.update(Cycle)
        .where(is_among(session, Cycle.id, cycle_ids), Cycle.status == CycleStatus.ANNOUNCED)
        .values(status=CycleStatus.ORDERED, ordered_at=now, ordered_by=by, remind_on=None)
        .returning(Cycle)
        .execution_options(synchronize_session=False, populate_existing=True)
    )
    found = sorted(await session.scalars(taken), key=lambda one: one.id)
    owed: dict[date, list[int]] = {}
    for one in found:
        if not one.is_gift:
            owed.setdefault(next_dunning(owed_since(one.due_on, today), today=today), []).append(one.id)
    for on, ids in owed.items():
        mine = sa.update(Cycle).where(is_among(session, Cycle.id, ids))
        await session.execute(mine.values(remind_on=on), execution_options=_quiet)
    return found


async def told_of(session: AsyncSession, cycles: Sequence[Cycle], *, now: datetime) -> list[Told]:
    """These deliveries as the books take them; a free one is paid by being ordered."""
    terms_ids = {one.terms_id for one in cycles}
    terms = {one.id: one for one in await session.scalars(sa.select(PlanTerms).where(PlanTerms.id.in_(terms_ids)))}
    return [
        Told(
            source=SOURCE,
            external_no=one.order_no,
            member_id=one.member_id,
            placed_at=now,
            total_fen=one.price_fen,
            lines=_lines(terms[one.terms_id], one),
            paid_at=now if one.is_gift else None,
        )
        for one in cycles
    ]


def _lines(terms: PlanTerms, cycle: Cycle) -> list[Line]:
    return [
        Line(
            sku=item["sku"],
            name=item["name"],
            category=item["category"],
            quantity=item["quantity"] * cycle.quantity,
            price_fen=0 if cycle.is_gift else item["price_fen"],
        )
        for item in terms.items
    ]


# Closed


async def close(session: AsyncSession, cycle: Cycle, to: CycleStatus, *, now: datetime) -> None:
    """An open delivery comes to nothing; an order that is not paid is cancelled with it. Raises TooLate."""
    was = await _close(session, cycle.id, to, now=now)
    if was is None:
        raise TooLate(await _stands(session, cycle.id))
    if was is CycleStatus.ORDERED:
        await orders.cancel(session, SOURCE, cycle.order_no, cancelled_at=now, now=now)


async def _close(session: AsyncSession, cycle_id: int, to: CycleStatus, *, now: datetime) -> CycleStatus | None:
    """What it was; None: it was closed before."""
    for was in OPEN:
        moved = sa.update(Cycle).where(Cycle.id == cycle_id, Cycle.status == was)
        values = {"status": to, "closed_at": now, "remind_on": None}
        if await session.scalar(moved.values(**values).returning(Cycle.id), execution_options=_quiet) is not None:
            return was
    return None


async def advance(session: AsyncSession, subscription: Subscription, plan: SubscriptionPlan, *, now: datetime) -> None:
    """The next delivery: behind today and behind the one that was closed; none is open."""
    seen = max(local_day(now), subscription.due_on)
    step, due_on = rhythm_of(plan).next(subscription.anchor_on, subscription.step, after=seen)
    mine = sa.update(Subscription).where(Subscription.id == subscription.id)
    await session.execute(mine.values(step=step, due_on=due_on, cycle_id=None), execution_options=_quiet)


async def settle(session: AsyncSession, cycle_ids: Sequence[int], *, now: datetime) -> list[int]:
    """Deliveries that are paid, or free and ordered; returns which this is news of. Late money counts as well.

    Three that are paid make the next one free, and a free one begins the count anew.
    """
    may = (CycleStatus.ORDERED, CycleStatus.UNPAID, CycleStatus.CANCELLED, CycleStatus.SKIPPED)
    closed = sa.func.coalesce(Cycle.closed_at, _told(Cycle.closed_at, now))
    paid = (
        sa.update(Cycle)
        .where(is_among(session, Cycle.id, cycle_ids), Cycle.status.in_(may), Cycle.ordered_at.is_not(None))
        .values(status=CycleStatus.PAID, closed_at=closed, remind_on=None)
        .returning(Cycle.id, Cycle.subscription_id, Cycle.is_gift)
    )
    rows = (await session.execute(paid, execution_options=_quiet)).all()
    for is_gift in (False, True):
        mine = [row.subscription_id for row in rows if bool(row.is_gift) is is_gift]
        counted = sa.update(Subscription).where(is_among(session, Subscription.id, mine))
        bought: Any = 0 if is_gift else Subscription.bought + 1
        if mine:
            await session.execute(counted.values(bought=bought), execution_options=_quiet)
    await _go_on(session, [row.subscription_id for row in rows], now=now)
    return [row.id for row in rows]


async def _go_on(session: AsyncSession, subscription_ids: Sequence[int], *, now: datetime) -> None:
    """Those whose open delivery was closed get the day of their next one; who waited for the money waits no longer."""
    waited = (Subscription.status == SubscriptionStatus.PAUSED, Subscription.paused_because == UNPAID_PAUSE)
    again = sa.update(Subscription).where(is_among(session, Subscription.id, subscription_ids), *waited)
    values = {"status": SubscriptionStatus.ACTIVE, "paused_because": ""}
    woken = await session.scalars(again.values(**values).returning(Subscription.id), execution_options=_quiet)
    overdue = sa.and_(is_among(session, Subscription.id, woken.all()), Subscription.due_on <= local_day(now))
    closed = sa.exists().where(Cycle.id == Subscription.cycle_id, Cycle.closed_at.is_not(None))
    rows = await session.execute(
        sa.select(Subscription, SubscriptionPlan)
        .join(SubscriptionPlan, SubscriptionPlan.id == Subscription.plan_id)
        .where(is_among(session, Subscription.id, subscription_ids), sa.or_(closed, overdue))
        .execution_options(populate_existing=True)
    )
    await advance_all(session, [(row[0], row[1]) for row in rows], now=now)


async def advance_all(
    session: AsyncSession, found: Sequence[tuple[Subscription, SubscriptionPlan]], *, now: datetime
) -> None:
    """Like `advance`, for many: those that go on alike are written together."""
    today = local_day(now)
    alike: dict[tuple[int, date], list[int]] = {}
    for one, plan in found:
        to = rhythm_of(plan).next(one.anchor_on, one.step, after=max(today, one.due_on))
        alike.setdefault(to, []).append(one.id)
    for (step, due_on), ids in alike.items():
        mine = sa.update(Subscription).where(is_among(session, Subscription.id, ids))
        await session.execute(mine.values(step=step, due_on=due_on, cycle_id=None), execution_options=_quiet)


async def _stands(session: AsyncSession, cycle_id: int) -> CycleStatus:
    return (await session.get_one(Cycle, cycle_id, populate_existing=True)).status


# What the books say


async def find(session: AsyncSession, order_no: str) -> Cycle | None:
    """The delivery with this order number."""
    found: Cycle | None = await session.scalar(
        sa.select(Cycle).where(Cycle.order_no == order_no).execution_options(populate_existing=True)
    )
    return found


async def pay(
    session: AsyncSession, order_no: str, *, paid_fen: int, paid_at: datetime, transaction_id: str, now: datetime
) -> Cycle:
    """A payment of a delivery as the bank tells it, once however often.

    Late money is taken: the delivery is on again. Raises SubscriptionNotFound, PaymentDiffers, PaidAlready.
    """
    cycle = await find(session, order_no)
    if cycle is None:
        raise SubscriptionNotFound(order_no[:24])
    held = await holds.hold_one(session, cycle.member_id)
    cycle = await session.get_one(Cycle, cycle.id, populate_existing=True)
    if cycle.transaction_id == transaction_id:
        return cycle
    if cycle.transaction_id is not None or cycle.status in (CycleStatus.PAID, CycleStatus.REFUNDED):
        raise PaidAlready(order_no, transaction_id)
    if paid_fen != cycle.price_fen or held.is_erased or cycle.ordered_at is None:
        raise PaymentDiffers(order_no, cycle.price_fen, paid_fen)
    cycle.transaction_id = transaction_id
    await session.flush()
    await orders.pay(session, SOURCE, order_no, paid_at=paid_at, paid_fen=paid_fen, now=now)
    await settle(session, [cycle.id], now=now)
    return await session.get_one(Cycle, cycle.id, populate_existing=True)


async def follow_payment(session: AsyncSession, order_id: int, *, now: datetime) -> None:
    """The shop's own system, or the bank, told that an order is paid: if it is a delivery's, that is paid."""
    if cycle := await _of_order(session, order_id):
        await settle(session, [cycle.id], now=now)


async def follow_refund(session: AsyncSession, order_id: int, *, now: datetime) -> None:
    """All the money of a delivery went back: it does not count towards the next free one."""
    del now
    cycle = await _of_order(session, order_id)
    if cycle is None:
        return
    back = sa.update(Cycle).where(Cycle.id == cycle.id, Cycle.status == CycleStatus.PAID)
    news = await session.scalar(back.values(status=CycleStatus.REFUNDED).returning(Cycle.id), execution_options=_quiet)
    if news is not None and not cycle.is_gift:
        less = sa.update(Subscription).where(Subscription.id == cycle.subscription_id, Subscription.bought > 0)
        await session.execute(less.values(bought=Subscription.bought - 1), execution_options=_quiet)


async def follow_cancel(session: AsyncSession, order_id: int, *, now: datetime) -> None:
    """The shop cancelled the order of a delivery: it will not come."""
    cycle = await _of_order(session, order_id)
    if cycle is not None and await _close(session, cycle.id, CycleStatus.CANCELLED, now=now) is not None:
        await _go_on(session, [cycle.subscription_id], now=now)


async def _of_order(session: AsyncSession, order_id: int) -> Cycle | None:
    """The delivery of this order, its person held."""
    known = await session.execute(
        sa.select(Order.source, Order.external_no, Order.member_id).where(Order.id == order_id)
    )
    row = known.first()
    if row is None or row.source != SOURCE:
        return None
    await holds.hold_one(session, row.member_id)
    return await find(session, row.external_no)
