"""Which orders a campaign is credited with, and what it brought beyond what would have come anyway.

A paid order is credited to the newest delivery that reached its member inside that campaign's window before the
payment: last touch wins. That says who was near the till, not who caused the sale; what a campaign caused is the
difference to its holdout.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns import definition, experiments
from campaigns.definition import CampaignWrong
from campaigns.experiments import Arm, Interval
from campaigns.models.campaign import Conversion, Delivery, DeliveryStatus, Run
from campaigns.models.job import JobMark
from crm.base.db import insert, insert_all, is_among
from crm.models.order import Order

TOGETHER = 2_000  # orders
LONGEST = timedelta(days=90)  # window of any campaign, see Definition.attribution_days
ON_THE_WAY = timedelta(days=60)  # a run's deliveries may arrive so long after it was due
RECENT, ALL = timedelta(days=3), timedelta(days=120)
EVERY = timedelta(days=1)
WALK = "attribution.credit_all"
HOLDOUT = "对照组"
_conversions: Any = Conversion.__table__


@dataclass(frozen=True, slots=True)
class Reached:
    """One delivery that arrived."""

    run_id: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Credit:
    """What the last touch brought."""

    orders: int = 0
    members: int = 0
    revenue_fen: int = 0  # paid less refunded


@dataclass(frozen=True, slots=True)
class Outcome:
    """A run, or all runs of a campaign, as an experiment. A member counts once in each run."""

    arms: Sequence[Arm]  # those reached, by variant
    holdout: Arm
    credit: Credit
    cost_fen: int
    lift: Interval | None  # bought: reached minus holdout, in shares of one; None without a holdout
    revenue_lift: Interval | None  # fen per member
    winner: str | None  # variant

    @property
    def reached(self) -> Arm:
        whole = Arm("已送达", 0, 0, 0, 0.0)
        for arm in self.arms:
            whole = whole.together(arm)
        return whole

    @property
    def incremental_fen(self) -> int | None:
        """Revenue beyond the holdout's, over all who were reached."""
        if self.holdout.members == 0:
            return None
        return round((self.reached.revenue_each - self.holdout.revenue_each) * self.reached.members)

    @property
    def return_on_cost(self) -> float | None:
        """Incremental revenue less cost, per fen of cost."""
        if not self.cost_fen or self.incremental_fen is None:
            return None
        return (self.incremental_fen - self.cost_fen) / self.cost_fen


# Rules


def last_touch(touches: Iterable[Reached], windows: Mapping[int, timedelta], paid_at: datetime) -> Reached | None:
    """The newest delivery at or before `paid_at`, less than its run's window ago; of two at once the later run's."""
    inside = [one for one in touches if timedelta() <= paid_at - one.at < windows[one.run_id]]
    return max(inside, key=lambda one: (one.at, one.run_id), default=None)


# Verbs


async def credit_recent(session: AsyncSession, *, now: datetime) -> int:
    """Orders paid of late: a delivery may become known as sent after the order it brought."""
    return await credit(session, paid_since=now - RECENT, now=now)


async def credit_all(session: AsyncSession, *, now: datetime) -> int:
    """Once a day, also orders that were told weeks after they were paid: the next batch of them, if a walk is due.

    How far it came is a row, so neither a restart nor another leader begins it anew, and nobody waits for all of it.
    """
    first = insert(session, JobMark).values(name=WALK, place=0, begun_at=now)
    await session.execute(first.on_conflict_do_nothing())
    mark = await session.scalar(
        sa.select(JobMark)
        .where(JobMark.name == WALK)
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    )
    if mark is None:
        return 0
    if mark.done_at is not None:
        if now - mark.begun_at < EVERY:
            return 0
        mark.place, mark.begun_at, mark.done_at = 0, now, None
    credited, place = await credit_batch(session, after=mark.place, paid_since=mark.begun_at - ALL, now=now)
    mark.place, mark.done_at = (place, None) if place is not None else (mark.place, now)
    await session.flush()
    return credited


async def credit(session: AsyncSession, *, paid_since: datetime, now: datetime) -> int:
    """Credit every order paid since then; returns how many have a touch. Doing it again changes nothing."""
    credited, place = 0, 0
    while True:
        some, further = await credit_batch(session, after=place, paid_since=paid_since, now=now)
        credited += some
        if further is None:
            break
        place = further
    return credited


async def credit_batch(
    session: AsyncSession, *, after: int, paid_since: datetime, now: datetime
) -> tuple[int, int | None]:
    """Credit the next orders behind `after`; returns how many have a touch, and where to go on: None at the end."""
    windows = await _windows(session, since=paid_since - LONGEST - ON_THE_WAY)
    if not windows:
        return 0, None
    orders = (
        await session.execute(
            sa.select(Order.id, Order.member_id, Order.paid_at)
            .where(Order.id > after, Order.paid_at >= paid_since, Order.paid_at <= now, Order.paid_fen > 0)
            .order_by(Order.id)
            .limit(TOGETHER)
        )
    ).all()
    if not orders:
        return 0, None
    touches = await _touches(session, windows, [one.member_id for one in orders])
    rows = [
        {"order_id": one.id, "run_id": touch.run_id, "member_id": one.member_id, "touched_at": touch.at,
         "paid_at": one.paid_at}
        for one in orders
        if (touch := last_touch(touches.get(one.member_id, ()), windows, one.paid_at)) is not None
    ]  # fmt: skip
    names = ("run_id", "member_id", "touched_at", "paid_at")
    again = f"(order_id) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in names)}"
    await insert_all(session, _conversions, rows, conflict=again)
    return len(rows), orders[-1].id


async def _windows(session: AsyncSession, *, since: datetime) -> dict[int, timedelta]:
    rows = await session.execute(sa.select(Run.id, Run.definition).where(Run.due_at >= since))
    return {row.id: timedelta(days=days) for row in rows if (days := _attribution_days(row.definition))}


def _attribution_days(written: Any) -> int:
    """0: nobody can read it any more, and the others are credited all the same."""
    try:
        return definition.read(written).attribution_days
    except CampaignWrong:
        return 0


async def _touches(
    session: AsyncSession, run_ids: Iterable[int], member_ids: Sequence[int]
) -> dict[int, list[Reached]]:
    rows = await session.execute(
        sa.select(Delivery.run_id, Delivery.member_id, Delivery.sent_at)
        .where(is_among(session, Delivery.run_id, list(run_ids)))
        .where(is_among(session, Delivery.member_id, sorted(set(member_ids))))
        .where(Delivery.status == DeliveryStatus.SENT)
    )
    found: defaultdict[int, list[Reached]] = defaultdict(list)
    for run_id, member_id, sent_at in rows:
        if sent_at is not None:
            found[member_id].append(Reached(run_id, sent_at))
    return found


# Reads


async def outcome(
    session: AsyncSession,
    campaign_id: int,
    *,
    run_id: int | None = None,
    due: tuple[datetime, datetime] | None = None,
) -> Outcome:
    """What a campaign, or one run of it, or those due from one instant to before another, brought.

    Both groups are looked at from the instant the run was due, for its attribution window.
    """
    which = (Run.campaign_id == campaign_id, *((Run.id == run_id,) if run_id is not None else ()))
    if due is not None:
        which = (*which, Run.due_at >= due[0], Run.due_at < due[1])
    runs = (await session.scalars(sa.select(Run).where(*which).order_by(Run.id))).all()
    arms: dict[str, Arm] = {}
    cost = 0
    for run in runs:
        told = definition.read(run.definition)
        names = [one.name for one in told.messages]
        for arm in await _arms(session, run, names, window=timedelta(days=told.attribution_days)):
            arms[arm.name] = arms[arm.name].together(arm) if arm.name in arms else arm
            cost += told.worth_fen * arm.members if arm.name != HOLDOUT else 0
    if runs:
        cost += definition.read(runs[-1].definition).cost_fen
    holdout = arms.pop(HOLDOUT, Arm(HOLDOUT, 0, 0, 0, 0.0))
    reached = list(arms.values())
    found = Outcome(
        reached, holdout, await _credit(session, [run.id for run in runs]), cost, None, None,
        experiments.winner(reached),
    )  # fmt: skip
    if not holdout.members or not reached:
        return found
    lift = experiments.difference(found.reached, holdout)
    return replace(found, lift=lift, revenue_lift=experiments.revenue_difference(found.reached, holdout))


async def _arms(session: AsyncSession, run: Run, names: Sequence[str], *, window: timedelta) -> list[Arm]:
    spent = (
        sa.select(Order.member_id, sa.func.sum(Order.paid_fen - Order.refunded_fen).label("fen"))
        .where(Order.paid_at >= run.due_at, Order.paid_at < run.due_at + window, Order.paid_fen > Order.refunded_fen)
        .group_by(Order.member_id)
        .subquery()
    )
    fen = sa.func.coalesce(spent.c.fen, 0)
    real = sa.cast(fen, sa.Float)
    is_holdout = Delivery.status == DeliveryStatus.HOLDOUT
    group = sa.case((is_holdout, -1), else_=Delivery.variant)
    rows = await session.execute(
        sa.select(group, sa.func.count(), sa.func.count(spent.c.fen), sa.func.sum(fen), sa.func.sum(real * real))
        .select_from(Delivery)
        .outerjoin(spent, spent.c.member_id == Delivery.member_id)
        .where(Delivery.run_id == run.id, Delivery.status.in_((DeliveryStatus.SENT, DeliveryStatus.HOLDOUT)))
        .group_by(group)
        .order_by(group)
    )
    return [
        Arm(HOLDOUT if place < 0 else names[place], members, buyers, int(revenue), float(squares))
        for place, members, buyers, revenue, squares in rows
    ]


async def _credit(session: AsyncSession, run_ids: Sequence[int]) -> Credit:
    row = (
        await session.execute(
            sa.select(
                sa.func.count(),
                sa.func.count(Conversion.member_id.distinct()),
                sa.func.coalesce(sa.func.sum(Order.paid_fen - Order.refunded_fen), 0),
            )
            .join(Order, Order.id == Conversion.order_id)
            .where(is_among(session, Conversion.run_id, run_ids), Order.paid_fen > Order.refunded_fen)
        )
    ).one()
    return Credit(row[0], row[1], int(row[2]))
