"""Tasks that facts fulfil: days checked in in a row, and monthly tasks of which k of n are done."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns.models.review import ReviewStatus, TaskReview
from campaigns.models.task import CommunityTask, TaskEntry, TaskKind
from campaigns.tasks import rewards, store
from campaigns.tasks.definition import Goal, Monthly, Streak
from campaigns.tasks.rewards import Given, theirs
from crm.base.clock import day_start, local_day
from crm.holds import PersonErased
from crm.members import MemberNotFound
from crm.models.loyalty import CheckIn
from crm.models.order import Order, OrderStatus

LATE = timedelta(days=2)  # so long after a month, or a task, what was done in it is still looked at


@dataclass(frozen=True, slots=True)
class GoalDone:
    """How far a person has come with one of a monthly task's goals."""

    goal: Goal
    has: int

    @property
    def is_done(self) -> bool:
        return self.has >= self.goal.takes


@dataclass(frozen=True, slots=True)
class Month:
    """A person's month of a monthly task."""

    month: str  # 2026-03
    goals: tuple[GoalDone, ...]
    takes: int
    is_rewarded: bool

    @property
    def done(self) -> int:
        return sum(one.is_done for one in self.goals)


# Days in a row


async def run_of_days(session: AsyncSession, task: CommunityTask, member_id: int, *, on: date) -> int:
    """Days in a row, `on` being the last, on which this person checked in while the task was open."""
    first = local_day(task.starts_at)
    rows = await session.scalars(
        sa.select(CheckIn.checked_on)
        .distinct()
        .where(CheckIn.member_id.in_(theirs(member_id)), CheckIn.checked_on.between(first, on))
        .order_by(CheckIn.checked_on.desc())
        .limit(366)
    )
    run, day = 0, on
    for checked in rows:
        if checked != day:
            break
        run, day = run + 1, day - timedelta(days=1)
    return run


async def follow_check_in(
    session: AsyncSession, member_id: int, *, on: date, now: datetime
) -> list[tuple[CommunityTask, Given]]:
    """What a check-in brings by the tasks that count days in a row; the same day again brings nothing more."""
    rows = await session.scalars(
        sa.select(CommunityTask).where(
            CommunityTask.kind == TaskKind.STREAK,
            CommunityTask.closed_at.is_(None),
            CommunityTask.starts_at < day_start(on + timedelta(days=1)),
            sa.or_(CommunityTask.ends_at.is_(None), CommunityTask.ends_at > day_start(on)),
        )
    )
    tasks = list(rows)
    if not tasks:
        return []
    member_id = await rewards.hold(session, member_id)
    got = []
    for task in tasks:
        told = store.told(task)
        if not isinstance(told, Streak):
            continue
        run = await run_of_days(session, task, member_id, on=on)
        for days in sorted(told.days):
            if days <= run:
                given = await rewards.give(session, task, told.days[days], member_id, step=f"days:{days}", now=now)
                got += [(task, given)] if given is not None else []
    return got


# Months


async def month_of(session: AsyncSession, task: CommunityTask, told: Monthly, member_id: int, *, on: date) -> Month:
    """How far a person is in the month of this day."""
    month = f"{on:%Y-%m}"
    begins, ends = _span(task, on)
    counts = await _counts(session, {one.what for one in told.goals}, member_id, begins=begins, ends=ends)
    had = f"month:{month}" in await rewards.steps_of(session, task.id, member_id)
    return Month(month, tuple(GoalDone(one, counts.get(one.what, 0)) for one in told.goals), told.takes, had)


async def follow_months(session: AsyncSession, member_ids: Sequence[int], *, now: datetime) -> None:
    """Something that monthly tasks may count happened to these members: whoever has done enough is rewarded."""
    rows = await session.scalars(
        sa.select(CommunityTask).where(
            CommunityTask.kind == TaskKind.MONTHLY,
            CommunityTask.closed_at.is_(None),
            CommunityTask.starts_at <= now,
            sa.or_(CommunityTask.ends_at.is_(None), CommunityTask.ends_at > now - LATE),
        )
    )
    tasks = list(rows)
    for member_id in member_ids if tasks else ():
        for task in tasks:
            await _follow(session, task, member_id, now=now)


async def _follow(session: AsyncSession, task: CommunityTask, member_id: int, *, now: datetime) -> None:
    told = store.told(task)
    if not isinstance(told, Monthly) or told.reward is None:
        return
    try:
        member_id = await rewards.hold(session, member_id)
    except (PersonErased, MemberNotFound):
        return
    days = {local_day(now - LATE), local_day(now)}  # at a month's beginning, the one that just ended as well
    for day in sorted({one.replace(day=1): one for one in days}.values()):
        begins, ends = _span(task, day)
        if begins >= ends:
            continue
        found = await month_of(session, task, told, member_id, on=day)
        if found.done >= found.takes and not found.is_rewarded:
            await rewards.give(session, task, told.reward, member_id, step=f"month:{found.month}", now=now)


def _span(task: CommunityTask, on: date) -> tuple[datetime, datetime]:
    """The calendar month of this day, as far as the task is open in it."""
    first = on.replace(day=1)
    begins, ends = day_start(first), day_start((first + timedelta(days=32)).replace(day=1))
    return max(begins, task.starts_at), min(ends, task.ends_at or ends)


async def _counts(
    session: AsyncSession, wanted: set[str], member_id: int, *, begins: datetime, ends: datetime
) -> Mapping[str, int]:
    """How much of each a person has between these instants."""
    found: dict[str, int] = {}
    if "check_ins" in wanted:
        days = sa.select(sa.func.count(CheckIn.checked_on.distinct())).where(
            CheckIn.member_id.in_(theirs(member_id)), CheckIn.checked_at >= begins, CheckIn.checked_at < ends
        )
        found["check_ins"] = await session.scalar(days) or 0
    if wanted & {"orders", "spend_fen"}:
        kept = Order.paid_fen - Order.refunded_fen
        bought = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(kept), 0)).where(
            Order.member_id.in_(theirs(member_id)), Order.paid_at >= begins, Order.paid_at < ends, kept > 0,
            Order.status != OrderStatus.REFUNDED,
        )  # fmt: skip
        found["orders"], found["spend_fen"] = map(int, (await session.execute(bought)).one())
    if "reviews" in wanted:
        approved = sa.select(sa.func.count()).where(
            TaskReview.member_id.in_(theirs(member_id)), TaskReview.status == ReviewStatus.APPROVED,
            TaskReview.sent_at >= begins, TaskReview.sent_at < ends,
        )  # fmt: skip
        found["reviews"] = await session.scalar(approved) or 0
    if wanted & {"quizzes", "votes"}:
        done = (
            sa.select(CommunityTask.kind, sa.func.count(CommunityTask.id.distinct()))
            .join(TaskEntry, TaskEntry.task_id == CommunityTask.id)
            .where(
                TaskEntry.member_id.in_(theirs(member_id)), TaskEntry.is_passed,
                TaskEntry.entered_at >= begins, TaskEntry.entered_at < ends,
            )
            .group_by(CommunityTask.kind)
        )  # fmt: skip
        kinds = {row.kind: row[1] for row in await session.execute(done)}
        found["quizzes"], found["votes"] = kinds.get(TaskKind.QUIZ, 0), kinds.get(TaskKind.VOTE, 0)
    return found
