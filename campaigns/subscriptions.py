"""Subscriptions: signed up for, confirmed, skipped, postponed, paused and ended by their member.

Whoever changes one holds the person first, the subscription next and its open delivery last. What decides is the
WHERE clause on the delivery: a skip and the order placed by default meet there, and one of them finds it gone.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns import subscription_orders, subscription_plans
from campaigns.models.subscription import (
    Cycle,
    CycleStatus,
    Mode,
    PlanTerms,
    Reminder,
    Subscription,
    SubscriptionPlan,
    SubscriptionStatus,
)
from campaigns.subscription_plans import rhythm_of
from campaigns.subscription_terms import (
    AlreadySubscribed,
    DateInvalid,
    NothingOpen,
    QuantityInvalid,
    SubscriptionBegan,
    SubscriptionEnded,
    SubscriptionNotFound,
    TooLate,
    WrongStanding,
)
from crm import holds
from crm.base import events
from crm.base.calendar import end_of_holiday
from crm.base.clock import local_day
from crm.base.db import insert
from crm.base.ids import code
from crm.members import CHANCE
from crm.models.member import Member

DAY = timedelta(days=1)
FARTHEST = timedelta(days=92)  # a first delivery, or a postponed one, lies no further ahead
MOST = 99  # of one subscription
OPEN = (CycleStatus.ANNOUNCED, CycleStatus.ORDERED)
S = SubscriptionStatus
_quiet = {"synchronize_session": False}


@dataclass(frozen=True, slots=True)
class View:
    """A subscription as its member sees it."""

    subscription: Subscription
    plan: SubscriptionPlan
    terms: PlanTerms  # of the open delivery, else of the next one
    cycle: Cycle | None

    @property
    def price_fen(self) -> int:
        """What the next delivery costs, if it is not free."""
        return self.terms.price_fen * self.subscription.quantity

    @property
    def paid_until_gift(self) -> int | None:
        """How many are paid before the next free one; 0: the next is free; None: there are no gifts."""
        every = self.terms.gift_every
        return max(0, every - 1 - self.subscription.bought) if every else None


# Reads


async def of_member(session: AsyncSession, member_id: int, *, ended: bool = False) -> list[View]:
    """A member's subscriptions, the oldest first; ended: also those that are over."""
    alive = () if ended else (Subscription.status != S.CANCELLED,)
    return await views(session, Subscription.member_id == member_id, *alive)


async def get(session: AsyncSession, no: str, *, member_id: int | None = None) -> View:
    """By its number; of this member alone, if one is named. Raises SubscriptionNotFound."""
    mine = () if member_id is None else (Subscription.member_id == member_id,)
    found = await views(session, Subscription.no == no.strip().upper()[:8], *mine)
    if not found:
        raise SubscriptionNotFound(no[:8])
    return found[0]


async def views(session: AsyncSession, *where: sa.ColumnElement[bool], limit: int = 200, offset: int = 0) -> list[View]:
    terms_id = sa.func.coalesce(Cycle.terms_id, subscription_plans.terms_for())
    rows = await session.execute(
        sa.select(Subscription, SubscriptionPlan, PlanTerms, Cycle)
        .join(SubscriptionPlan, SubscriptionPlan.id == Subscription.plan_id)
        .outerjoin(Cycle, Cycle.id == Subscription.cycle_id)
        .join(PlanTerms, PlanTerms.id == terms_id)
        .where(*where)
        .order_by(Subscription.id)
        .limit(limit)
        .offset(offset)
        .execution_options(populate_existing=True)
    )
    return [View(*row) for row in rows]


async def cycles_of(session: AsyncSession, subscription_id: int, *, limit: int = 24) -> Sequence[Cycle]:
    """Its deliveries, the newest first."""
    mine = sa.select(Cycle).where(Cycle.subscription_id == subscription_id)
    return (await session.scalars(mine.order_by(Cycle.number.desc()).limit(limit))).all()


# Verbs


async def sign_up(
    session: AsyncSession,
    member_id: int,
    plan_key: str,
    *,
    mode: Mode,
    quantity: int = 1,
    first_on: date | None = None,
    address_id: int | None = None,
    now: datetime,
    chance: random.Random = CHANCE,
) -> View:
    """Subscribe. A first delivery within the next days is ordered at once: signing up was the yes.

    first_on None: tomorrow, or after the holiday. Raises PlanNotFound, PlanClosed, AlreadySubscribed, DateInvalid,
    QuantityInvalid.
    """
    member_id, today = await holds.hold(session, member_id), local_day(now)
    offered = await subscription_plans.get_open(session, plan_key)
    if not 1 <= quantity <= MOST:
        raise QuantityInvalid(quantity)
    first_on = first_on or end_of_holiday(today + DAY)
    _check_day(first_on, today)
    if known := await _living(session, member_id, offered.plan.id):
        raise AlreadySubscribed(offered.plan.key, known)
    made = insert(session, Subscription).values(
        no=code(chance),
        member_id=member_id,
        signed_by_id=member_id,
        plan_id=offered.plan.id,
        terms_id=offered.terms.id,
        status=S.ACTIVE,
        mode=mode,
        quantity=quantity,
        anchor_on=first_on,
        step=0,
        due_on=offered.rhythm.due(first_on, today=today),
        number=0,
        bought=0,
        address_id=address_id,
        paused_because="",
        ended_because="",
        created_at=now,
    )
    subscription_id = await session.scalar(made.on_conflict_do_nothing().returning(Subscription.id))
    if subscription_id is None:  # two taps at once, or a number that is taken: the member asks again
        raise AlreadySubscribed(offered.plan.key, await _living(session, member_id, offered.plan.id) or "")
    began = SubscriptionBegan(subscription_id=subscription_id, member_id=member_id, plan_id=offered.plan.id)
    await events.append(session, began, now=now)
    if await subscription_orders.announce(session, Subscription.id == subscription_id, now=now):
        view = (await views(session, Subscription.id == subscription_id))[0]
        await subscription_orders.order(session, view.subscription, _opened(view), by="member", now=now)
    return (await views(session, Subscription.id == subscription_id))[0]


async def confirm(session: AsyncSession, no: str, *, member_id: int, now: datetime) -> View:
    """The member wants the delivery that was announced: its order is placed. Raises NothingOpen, TooLate."""
    view = await _held(session, no, member_id)
    await subscription_orders.order(session, view.subscription, _opened(view), by="member", now=now)
    return await get(session, no)


async def skip(session: AsyncSession, no: str, *, member_id: int, now: datetime) -> View:
    """Not this time. An order that is not paid is cancelled with it. Raises NothingOpen, TooLate."""
    view = await _held(session, no, member_id)
    cycle = _opened(view)
    await subscription_orders.close(session, cycle, CycleStatus.SKIPPED, now=now)
    await subscription_orders.advance(session, view.subscription, view.plan, now=now)
    return await get(session, no)


async def postpone(session: AsyncSession, no: str, days: int, *, member_id: int, now: datetime) -> View:
    """This delivery, and the rhythm with it, comes so many days later. Raises NothingOpen, TooLate, DateInvalid."""
    view = await _held(session, no, member_id)
    subscription, today = view.subscription, local_day(now)
    if subscription.status is not S.ACTIVE:
        raise WrongStanding(subscription.status)
    if not 1 <= days <= FARTHEST.days:
        raise DateInvalid(today + DAY, today + FARTHEST)
    day = (view.cycle.due_on if view.cycle is not None else subscription.due_on) + timedelta(days=days)
    _check_day(day, today, at_most=timedelta(days=400))
    due_on = rhythm_of(view.plan).due(day, today=today)
    if view.cycle is not None:
        moved = sa.update(Cycle).where(Cycle.id == view.cycle.id, Cycle.status == CycleStatus.ANNOUNCED)
        if await session.scalar(moved.values(due_on=due_on, remind_on=today).returning(Cycle.id)) is None:
            raise TooLate((await session.get_one(Cycle, view.cycle.id, populate_existing=True)).status)
    values = {"anchor_on": day, "step": 0, "due_on": due_on}
    await session.execute(
        sa.update(Subscription).where(Subscription.id == subscription.id).values(**values), execution_options=_quiet
    )
    return await get(session, no)


async def pause(
    session: AsyncSession, no: str, *, member_id: int, until: date | None = None, because: str = "member", now: datetime
) -> View:
    """Nothing comes until it is resumed, by the member or on `until`. Raises WrongStanding, DateInvalid."""
    view = await _held(session, no, member_id)
    if until is not None and not local_day(now) < until <= local_day(now) + timedelta(days=400):
        raise DateInvalid(local_day(now) + DAY, local_day(now) + timedelta(days=400))
    await _move(session, view.subscription, (S.ACTIVE,), status=S.PAUSED, paused_because=because, resumes_on=until)
    await _end_open(session, view, CycleStatus.SKIPPED, now=now)
    return await get(session, no)


async def resume(session: AsyncSession, no: str, *, member_id: int, now: datetime) -> View:
    """It goes on with the next day of its rhythm. Raises WrongStanding."""
    view = await _held(session, no, member_id)
    await _move(session, view.subscription, (S.PAUSED,), status=S.ACTIVE, paused_because="", resumes_on=None)
    if view.cycle is None and view.subscription.due_on <= local_day(now):
        await subscription_orders.advance(session, view.subscription, view.plan, now=now)
    return await get(session, no)


async def cancel(session: AsyncSession, no: str, *, member_id: int, because: str = "member", now: datetime) -> View:
    """It is over; an order that is not paid goes with it, one that is paid is delivered. Raises WrongStanding."""
    view = await _held(session, no, member_id)
    subscription = view.subscription
    over = {"status": S.CANCELLED, "ended_at": now, "ended_because": because, "resumes_on": None, "paused_because": ""}
    await _move(session, subscription, (S.ACTIVE, S.PAUSED), **over)
    await _end_open(session, view, CycleStatus.CANCELLED, now=now)
    ended = SubscriptionEnded(
        subscription_id=subscription.id,
        member_id=subscription.member_id,
        plan_id=subscription.plan_id,
        because=because,
    )
    await events.append(session, ended, now=now)
    return await get(session, no)


async def choose(session: AsyncSession, no: str, mode: Mode, *, member_id: int, now: datetime) -> View:
    """What happens when the member says nothing."""
    del now
    view = await _held(session, no, member_id)
    await _move(session, view.subscription, (S.ACTIVE, S.PAUSED), mode=mode)
    return await get(session, no)


async def send_to(session: AsyncSession, no: str, address_id: int, *, member_id: int, now: datetime) -> View:
    """Where its deliveries go from now on, the open one too."""
    del now
    view = await _held(session, no, member_id)
    await _move(session, view.subscription, (S.ACTIVE, S.PAUSED), address_id=address_id)
    return await get(session, no)


async def end_plan(session: AsyncSession, key: str, *, now: datetime, limit: int = 200) -> list[View]:
    """End some subscriptions to a plan nobody can sign up for any more; returns those that ended, none at the end."""
    closed = await subscription_plans.close(session, key, now=now)
    alive = (Subscription.plan_id == closed.plan.id, Subscription.status != S.CANCELLED)
    found = await views(session, *alive, limit=limit)
    return [
        await cancel(session, one.subscription.no, member_id=one.subscription.member_id, because="plan", now=now)
        for one in found
    ]


async def follow_people(session: AsyncSession, *member_ids: int) -> None:
    """After a merge, or its undoing, a subscription is of whoever signed up is now: one may have two of a kind."""
    person = (
        sa.select(sa.func.coalesce(Member.merged_into_id, Member.id))
        .where(Member.id == Subscription.signed_by_id)
        .scalar_subquery()
    )
    theirs = sa.update(Subscription).where(Subscription.member_id.in_(member_ids)).values(member_id=person)
    await session.execute(theirs, execution_options=_quiet)
    owner = sa.select(Subscription.member_id).where(Subscription.id == Cycle.subscription_id).scalar_subquery()
    mine = sa.update(Cycle).where(Cycle.member_id.in_(member_ids)).values(member_id=owner)
    await session.execute(mine, execution_options=_quiet)
    whose = sa.select(Cycle.member_id).where(Cycle.id == Reminder.cycle_id).scalar_subquery()
    told = sa.update(Reminder).where(Reminder.member_id.in_(member_ids)).values(member_id=whose)
    await session.execute(told, execution_options=_quiet)


# How


def _check_day(day: date, today: date, *, at_most: timedelta = FARTHEST) -> None:
    if not today < day <= today + at_most:
        raise DateInvalid(today + DAY, today + at_most)


def _opened(view: View) -> Cycle:
    if view.subscription.status is not S.ACTIVE:
        raise WrongStanding(view.subscription.status)
    if view.cycle is None:
        raise NothingOpen(view.subscription.due_on)
    return view.cycle


async def _living(session: AsyncSession, member_id: int, plan_id: int) -> str | None:
    mine = (Subscription.member_id == member_id, Subscription.plan_id == plan_id, Subscription.status != S.CANCELLED)
    return await session.scalar(sa.select(Subscription.no).where(*mine).limit(1))


async def _held(session: AsyncSession, no: str, member_id: int) -> View:
    """The member's own subscription, locked with its person. Raises SubscriptionNotFound."""
    member_id = await holds.hold(session, member_id)
    mine = (Subscription.no == no.strip().upper()[:8], Subscription.member_id == member_id)
    row = sa.select(Subscription.id).where(*mine).with_for_update()
    if await session.scalar(row) is None:
        raise SubscriptionNotFound(no[:8])
    return (await views(session, *mine))[0]


async def _move(session: AsyncSession, one: Subscription, may: Sequence[S], **values: object) -> None:
    moved = sa.update(Subscription).where(Subscription.id == one.id, Subscription.status.in_(may))
    if await session.scalar(moved.values(**values).returning(Subscription.id), execution_options=_quiet) is None:
        raise WrongStanding(one.status)


async def _end_open(session: AsyncSession, view: View, to: CycleStatus, *, now: datetime) -> None:
    """The open delivery goes no further, unless it was paid a moment ago."""
    if view.cycle is None:
        return
    try:
        await subscription_orders.close(session, view.cycle, to, now=now)
    except TooLate:
        return
    await subscription_orders.advance(session, view.subscription, view.plan, now=now)
