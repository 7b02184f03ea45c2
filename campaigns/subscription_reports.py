"""What the tables of subscriptions tell: what is due, which way each reminder went, and the stock it will take."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns.models.subscription import (
    Cycle,
    CycleStatus,
    PlanTerms,
    Reminder,
    Subscription,
    SubscriptionPlan,
    SubscriptionStatus,
)
from campaigns.subscription_plans import terms_for
from campaigns.subscription_rules import Rhythm
from crm.base.clock import local_day
from crm.base.db import is_among
from crm.models.member import Member

WEEK = timedelta(days=7)
ENOUGH = 20  # closed deliveries of a plan from which its share of skips is believed
LOOK_BACK = timedelta(days=180)
LOST = (CycleStatus.SKIPPED, CycleStatus.MISSED, CycleStatus.UNPAID, CycleStatus.CANCELLED)


@dataclass(frozen=True, slots=True)
class DueLine:
    """One delivery of a list: whose, when, how it stands, and its reminders with the way each went."""

    cycle: Cycle
    subscription: Subscription
    plan: str
    member_name: str
    reminders: Sequence[Reminder] = ()


@dataclass(slots=True)
class Need:
    """Pieces of one article in one week. most: if nobody skips; likely: as many skip as did lately."""

    sku: str
    name: str
    most: int = 0
    likely: float = 0.0
    ordered: int = 0  # of these, in orders that were placed


@dataclass(slots=True)
class Week:
    """A week of the forecast, from Monday. deliveries: of all plans, if nobody skips."""

    begins_on: date
    deliveries: int = 0
    needs: dict[str, Need] = field(default_factory=dict)


async def due_between(
    session: AsyncSession, first: date, last: date, *, limit: int = 500, offset: int = 0
) -> list[DueLine]:
    """Deliveries that were begun and are due from the first to the last day, by day."""
    rows = await session.execute(
        sa.select(Cycle, Subscription, SubscriptionPlan.title, Member.name)
        .join(Subscription, Subscription.id == Cycle.subscription_id)
        .join(SubscriptionPlan, SubscriptionPlan.id == Subscription.plan_id)
        .join(Member, Member.id == Cycle.member_id)
        .where(Cycle.due_on.between(first, last))
        .order_by(Cycle.due_on, Cycle.id)
        .limit(limit)
        .offset(offset)
    )
    found = rows.all()
    told = await session.scalars(
        sa.select(Reminder)
        .where(is_among(session, Reminder.cycle_id, [row[0].id for row in found]))
        .order_by(Reminder.cycle_id, Reminder.remind_on, Reminder.due_on)
    )
    by_cycle: defaultdict[int, list[Reminder]] = defaultdict(list)
    for one in told:
        by_cycle[one.cycle_id].append(one)
    return [DueLine(*row, reminders=by_cycle[row[0].id]) for row in found]


async def count_between(session: AsyncSession, first: date, last: date) -> int:
    """Deliveries of these days: those that were begun, and those that will be if nothing changes."""
    lost = Cycle.status.in_(LOST)
    begun = sa.select(sa.func.count()).select_from(Cycle).where(Cycle.due_on.between(first, last), ~lost)
    coming = sa.select(sa.func.count()).where(
        Subscription.status == SubscriptionStatus.ACTIVE,
        Subscription.cycle_id.is_(None),
        Subscription.due_on.between(first, last),
    )
    return (await session.scalar(begun) or 0) + (await session.scalar(coming) or 0)


async def names_of(session: AsyncSession, member_ids: Collection[int]) -> dict[int, str]:
    rows = sa.select(Member.id, Member.name).where(is_among(session, Member.id, member_ids))
    return {row.id: row.name for row in await session.execute(rows)}


async def ways_of(session: AsyncSession, first: date, last: date) -> dict[tuple[str, str], int]:
    """How many reminders of these days went which way: (way or "", status) -> count."""
    rows = await session.execute(
        sa.select(Reminder.way, Reminder.status, sa.func.count())
        .where(Reminder.remind_on.between(first, last))
        .group_by(Reminder.way, Reminder.status)
    )
    return {(way.value if way else "", status.value): count for way, status, count in rows}


async def forecast(session: AsyncSession, *, weeks: int, now: datetime) -> list[Week]:
    """What the subscriptions of now will need, this week first. Deliveries are projected by their own rhythm.

    Those that go on alike are counted together, so its cost follows the number of different days, not of members.
    """
    today = local_day(now)
    monday = today - timedelta(days=today.weekday())
    end = monday + WEEK * weeks
    found = [Week(monday + WEEK * number) for number in range(weeks)]
    kept = await _kept(session, since=today - LOOK_BACK)
    for row in await _open(session, today, end):
        share = 1.0 if row.status is CycleStatus.ORDERED else kept.get(row.plan_id, 1.0)
        _add(found[(row.due_on - monday).days // 7], row, share)
    for row in await _groups(session, end):
        rhythm = Rhythm(row.unit, row.every, row.on_holiday)
        step, day = row.step, row.due_on
        if row.cycle_id is not None or day < today:
            step, day = rhythm.next(row.anchor_on, step, after=max(today, day))
        while day < end:
            _add(found[(day - monday).days // 7], row, kept.get(row.plan_id, 1.0))
            step, day = rhythm.next(row.anchor_on, step, after=day)
    return found


def _add(week: Week, row: Any, share: float) -> None:
    week.deliveries += row.members
    for item in row.items:
        need = week.needs.setdefault(item["sku"], Need(item["sku"], item["name"]))
        pieces = item["quantity"] * int(row.pieces)
        need.most += pieces
        need.likely += pieces * share
        if getattr(row, "status", None) is CycleStatus.ORDERED:
            need.ordered += pieces


async def _open(session: AsyncSession, today: date, end: date) -> Sequence[Any]:
    """Deliveries that were begun and have not left: paid ones of days to come too."""
    alive = (CycleStatus.ANNOUNCED, CycleStatus.ORDERED, CycleStatus.PAID)
    status = sa.case(
        (Cycle.status == CycleStatus.PAID, sa.literal(CycleStatus.ORDERED, Cycle.status.type)), else_=Cycle.status
    )
    rows = await session.execute(
        sa.select(
            Cycle.due_on, status.label("status"), PlanTerms.plan_id, PlanTerms.items,
            sa.func.count().label("members"), sa.func.sum(Cycle.quantity).label("pieces"),
        )
        .join(PlanTerms, PlanTerms.id == Cycle.terms_id)
        .where(Cycle.due_on >= today, Cycle.due_on < end, Cycle.status.in_(alive))
        .group_by(Cycle.due_on, status, PlanTerms.id, PlanTerms.plan_id)
    )  # fmt: skip
    return rows.all()


async def _groups(session: AsyncSession, end: date) -> Sequence[Any]:
    """Active subscriptions whose next days are the same."""
    day = sa.extract("day", Subscription.anchor_on)
    is_open = sa.case((Subscription.cycle_id.is_(None), None), else_=1).label("cycle_id")
    terms = sa.select(
        Subscription.plan_id, SubscriptionPlan.unit, SubscriptionPlan.every, SubscriptionPlan.on_holiday,
        Subscription.due_on, is_open, terms_for().label("terms_id"), day.label("day"),
        sa.func.min(Subscription.anchor_on).label("anchor_on"), sa.func.min(Subscription.step).label("step"),
        sa.func.count().label("members"), sa.func.sum(Subscription.quantity).label("pieces"),
    ).join(SubscriptionPlan, SubscriptionPlan.id == Subscription.plan_id).where(
        Subscription.status == SubscriptionStatus.ACTIVE, Subscription.due_on < end
    ).group_by(
        Subscription.plan_id, SubscriptionPlan.unit, SubscriptionPlan.every, SubscriptionPlan.on_holiday,
        Subscription.due_on, is_open, terms_for(), day,
    )  # fmt: skip
    alike = terms.subquery()
    rows = await session.execute(sa.select(alike, PlanTerms.items).join(PlanTerms, PlanTerms.id == alike.c.terms_id))
    return rows.all()


async def _kept(session: AsyncSession, *, since: date) -> dict[int, float]:
    """Of each plan's deliveries that were due lately the share that came, where there were enough to tell."""
    lost = sa.func.sum(sa.case((Cycle.status.in_(LOST), 1), else_=0))
    rows = await session.execute(
        sa.select(PlanTerms.plan_id, sa.func.count(), lost)
        .join(PlanTerms, PlanTerms.id == Cycle.terms_id)
        .where(Cycle.due_on >= since, Cycle.closed_at.is_not(None))
        .group_by(PlanTerms.plan_id)
    )
    return {plan_id: 1 - (gone or 0) / count for plan_id, count, gone in rows if count >= ENOUGH}
