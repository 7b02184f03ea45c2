"""What a day brings to subscriptions: deliveries begin, reminders fall due, orders are placed by default or given up.

Each step is one transaction over some rows, returns how many and finds none when all is done: any number of workers
may run them, and a day that was slept through is made up for with one reminder, not three.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns import subscription_orders as orders_of
from campaigns.models.subscription import (
    Cycle,
    CycleStatus,
    Mode,
    Reminder,
    ReminderStatus,
    Subscription,
    SubscriptionPlan,
    SubscriptionStatus,
)
from campaigns.subscription_plans import rhythm_of
from campaigns.subscription_rules import (
    GIVE_UP,
    Rhythm,
    dunning_on,
    ladder_of,
    may_remind,
    next_dunning,
    next_reminder,
    owed_since,
    reminder_on,
)
from campaigns.subscription_terms import SubscriptionUnpaid
from crm import order_batches, orders
from crm.base import events
from crm.base.clock import day_start, local_day
from crm.base.db import insert, is_among
from crm.models.member import Identity, Member

ORDER_HOUR = 18  # on the day itself: who chose so and said nothing gets an order
TOGETHER = 1000
FEW = 100  # where each row takes several statements
DAY = timedelta(days=1)
LATE_HOURS = timedelta(hours=24 - ORDER_HOUR)
Step = Callable[..., Awaitable[int]]  # (session, *, now) -> how many it did
_quiet = {"synchronize_session": False}
_reminders: Any = Reminder.__table__


async def begin(session: AsyncSession, *, now: datetime) -> int:
    return await orders_of.announce(session, now=now)


async def wake(session: AsyncSession, *, now: datetime) -> int:
    """Paused until today: they go on by themselves."""
    due = (Subscription.resumes_on <= local_day(now), Subscription.status == SubscriptionStatus.PAUSED)
    some = sa.select(Subscription.id).where(*due).order_by(Subscription.id).limit(TOGETHER)
    ids = list(await session.scalars(some.with_for_update(skip_locked=True)))
    awake = sa.update(Subscription).where(is_among(session, Subscription.id, ids))
    values = {"status": SubscriptionStatus.ACTIVE, "resumes_on": None, "paused_because": ""}
    await session.execute(awake.values(**values), execution_options=_quiet)
    rows = await session.execute(
        sa.select(Subscription, SubscriptionPlan)
        .join(SubscriptionPlan, SubscriptionPlan.id == Subscription.plan_id)
        .where(is_among(session, Subscription.id, ids), Subscription.due_on <= local_day(now))
        .execution_options(populate_existing=True)
    )
    await orders_of.advance_all(session, [(row[0], row[1]) for row in rows], now=now)
    return len(ids)


# Reminded


async def remind(session: AsyncSession, *, now: datetime) -> int:
    """Note the reminders whose day has come; how each goes out is decided in subscription_reminders."""
    if not may_remind(now):
        return 0
    today = local_day(now)
    some = (
        sa.select(Cycle.id, Cycle.member_id, Cycle.due_on, Cycle.status, Cycle.ordered_at, Subscription.plan_id)
        .join(Subscription, Subscription.id == Cycle.subscription_id)
        .where(Cycle.remind_on <= today)
        .order_by(Cycle.remind_on, Cycle.id)
        .limit(2 * TOGETHER)
        .with_for_update(skip_locked=True, of=Cycle)
    )
    found = (await session.execute(some)).all()
    rhythms = await _rhythms(session, {row.plan_id for row in found})
    alike: defaultdict[tuple[str, date | None], list[int]] = defaultdict(list)
    known: dict[tuple[Any, ...], tuple[str, date | None]] = {}  # thousands share a plan and a day
    for row in found:
        kind = (row.plan_id, row.due_on, row.status, row.ordered_at)
        if kind not in known:
            known[kind] = _step(row, ladder_of(rhythms[row.plan_id]), today)
        alike[known[kind]].append(row.id)
    for (step, following), ids in alike.items():
        if step and step != "gone":
            await _note(session, ids, step, now=now)
        mine = sa.update(Cycle).where(is_among(session, Cycle.id, ids))
        await session.execute(mine.values(remind_on=following), execution_options=_quiet)
    return len(found)


async def _note(session: AsyncSession, cycle_ids: Sequence[int], step: str, *, now: datetime) -> None:
    """A reminder of this step for each of these deliveries, unless it has one of this day already."""
    values = {"step": step, "remind_on": local_day(now), "status": ReminderStatus.DUE, "trail": [], "look_at": now}
    told = [sa.literal(value, getattr(Reminder, name).type) for name, value in values.items()]
    mine = is_among(session, Cycle.id, cycle_ids)
    rows = sa.select(Cycle.id, Cycle.due_on, Cycle.member_id, *told).where(mine)
    names = ["cycle_id", "due_on", "member_id", *values]
    noted = insert(session, _reminders).from_select(names, rows, include_defaults=False)
    await session.execute(noted.on_conflict_do_nothing())


async def _rhythms(session: AsyncSession, plan_ids: set[int]) -> dict[int, Rhythm]:
    plans = await session.scalars(sa.select(SubscriptionPlan).where(SubscriptionPlan.id.in_(plan_ids)))
    return {plan.id: rhythm_of(plan) for plan in plans}


def _step(row: Any, ladder: tuple[int, ...], today: date) -> tuple[str, date | None]:
    """What is due about a delivery by today, and when to look next."""
    if row.status is CycleStatus.ANNOUNCED:
        return reminder_on(row.due_on, ladder, today=today), next_reminder(row.due_on, ladder, today=today)
    since = owed_since(row.due_on, local_day(row.ordered_at))
    step = dunning_on(since, today=today)
    return step, today + DAY if step == "gone" else next_dunning(since, today=today)


async def give_up(session: AsyncSession, *, now: datetime) -> int:
    """Asked for in vain: the order is cancelled, the subscription waits for its member, who is told once."""
    if not may_remind(now):
        return 0
    today = local_day(now)
    owed = (
        Cycle.remind_on <= today,
        Cycle.status == CycleStatus.ORDERED,
        Cycle.due_on <= today - timedelta(days=GIVE_UP - 1),
        Cycle.ordered_at < day_start(today - timedelta(days=GIVE_UP - 1)),
    )
    rows = await session.execute(
        sa.select(Cycle.id, Cycle.member_id).where(*owed).order_by(Cycle.member_id, Cycle.id).limit(FEW)
    )
    found = rows.all()
    await _hold_all(session, {row.member_id for row in found})
    unpaid = sa.update(Cycle).where(is_among(session, Cycle.id, [row.id for row in found]))
    values = {"status": CycleStatus.UNPAID, "closed_at": now, "remind_on": None}
    still = unpaid.where(Cycle.status == CycleStatus.ORDERED).values(**values).returning(Cycle)
    lost = sorted(await session.scalars(still, execution_options=_quiet), key=lambda one: one.id)
    for one in lost:
        await orders.cancel(session, orders_of.SOURCE, one.order_no, cancelled_at=now, now=now)
        news = SubscriptionUnpaid(subscription_id=one.subscription_id, member_id=one.member_id, cycle_id=one.id)
        await events.append(session, news, now=now)
    ids = [one.subscription_id for one in lost]
    active = (is_among(session, Subscription.id, ids), Subscription.status == SubscriptionStatus.ACTIVE)
    waits = {"status": SubscriptionStatus.PAUSED, "paused_because": orders_of.UNPAID_PAUSE}
    await session.execute(sa.update(Subscription).where(*active).values(**waits), execution_options=_quiet)
    await _advance(session, ids, now=now)
    await _note(session, [one.id for one in lost], "gone", now=now)
    return len(found)


async def _advance(session: AsyncSession, subscription_ids: Collection[int], *, now: datetime) -> None:
    rows = await session.execute(
        sa.select(Subscription, SubscriptionPlan)
        .join(SubscriptionPlan, SubscriptionPlan.id == Subscription.plan_id)
        .where(is_among(session, Subscription.id, subscription_ids))
        .execution_options(populate_existing=True)
    )
    await orders_of.advance_all(session, [(row[0], row[1]) for row in rows], now=now)


# Ordered, or not


async def order_due(session: AsyncSession, *, now: datetime) -> int:
    """The orders of those who chose so and said nothing, together; a member's word that comes first leaves none."""
    ready = local_day(now + LATE_HOURS) - timedelta(days=1)
    due = (Cycle.status == CycleStatus.ANNOUNCED, Cycle.due_on <= ready, Subscription.mode == Mode.DEFAULT)
    rows = await session.execute(
        sa.select(Cycle.id, Cycle.member_id)
        .join(Subscription, Subscription.id == Cycle.subscription_id)
        .where(*due)
        .order_by(Cycle.due_on, Cycle.id)
        .limit(TOGETHER)
    )
    asked = {row.id: row.member_id for row in rows}
    if not asked:
        return 0
    person_of = await _hold_all(session, set(asked.values()))
    going = [one for one, member_id in asked.items() if member_id in person_of]
    taken = await orders_of.take(session, going, by="default", now=now)
    told = [
        one._replace(member_id=person_of[one.member_id]) for one in await orders_of.told_of(session, taken, now=now)
    ]
    written = await order_batches.place_all(session, told, now=now)
    await orders_of.settle(session, [one.id for one in taken if one.is_gift], now=now)
    refused = {one.external_no for one, _ in written.refused}  # the books say otherwise: a person looks
    gone = [one for one in asked if one not in going] + [one.id for one in taken if one.order_no in refused]
    over = sa.update(Cycle).where(is_among(session, Cycle.id, gone), Cycle.closed_at.is_(None))
    values = {"status": CycleStatus.CANCELLED, "closed_at": now, "remind_on": None}
    await session.execute(over.values(**values), execution_options=_quiet)
    return len(asked)


async def _hold_all(session: AsyncSession, member_ids: set[int]) -> dict[int, int]:
    """Lock these people, as holds.hold() does one; each with whom they are by now, the erased left out."""
    mine = sa.select(Identity.id).where(is_among(session, Identity.member_id, member_ids)).order_by(Identity.id)
    await session.execute(mine.with_for_update(key_share=True))
    living = sa.select(Member.id, sa.func.coalesce(Member.merged_into_id, Member.id)).where(
        is_among(session, Member.id, member_ids), Member.erased_at.is_(None)
    )
    return {row[0]: row[1] for row in await session.execute(living)}


async def miss(session: AsyncSession, *, now: datetime) -> int:
    """Asked, not answered, and the day is over: nothing is ordered, the next one will ask again."""
    over = (Cycle.status == CycleStatus.ANNOUNCED, Cycle.due_on < local_day(now), Subscription.mode == Mode.ASKS)
    rows = await session.execute(
        sa.select(Cycle.id, Cycle.member_id)
        .join(Subscription, Subscription.id == Cycle.subscription_id)
        .where(*over)
        .order_by(Cycle.due_on, Cycle.id)
        .limit(TOGETHER)
    )
    found = rows.all()
    await _hold_all(session, {row.member_id for row in found})
    ids = [row.id for row in found]
    missed = sa.update(Cycle).where(is_among(session, Cycle.id, ids), Cycle.status == CycleStatus.ANNOUNCED)
    values = {"status": CycleStatus.MISSED, "closed_at": now, "remind_on": None}
    closed = await session.scalars(missed.values(**values).returning(Cycle.subscription_id), execution_options=_quiet)
    await _advance(session, closed.all(), now=now)
    return len(ids)


STEPS: tuple[Step, ...] = (wake, begin, give_up, remind, order_due, miss)
