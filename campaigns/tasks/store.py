"""Community tasks as the shop keeps them: found, written down, changed only where nobody's answer would change."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns import offers
from campaigns.models.task import CommunityTask, TaskKind
from campaigns.tasks import definition
from campaigns.tasks.definition import AnyTask
from campaigns.words import Level, Words
from crm import loyalty_rules
from crm.base.db import insert
from crm.base.errors import NotFound, Refused


@dataclass(eq=False)
class TaskNotFound(NotFound):
    """No task has this key."""

    code: ClassVar[str] = "task.not_found"
    key: str


@dataclass(eq=False)
class TaskNotOpen(Refused):
    """Not yet, or no longer."""

    code: ClassVar[str] = "task.not_open"
    key: str
    starts_at: datetime
    ended_at: datetime | None


@dataclass(eq=False)
class TaskFixed(Refused):
    """Somebody took part already, so what was asked stays, and no limit goes below what was given. `fields`: which."""

    code: ClassVar[str] = "task.fixed"
    key: str
    fields: tuple[str, ...]

    def __str__(self) -> str:
        return f"已经有人参加，不能再改：{'、'.join(self.fields)}。要改就另建一份"


@dataclass(eq=False)
class RewardUnknown(Refused):
    """A task promises what the shop does not have. what: the offer's key, or "points" where there is no programme."""

    code: ClassVar[str] = "task.reward_unknown"
    key: str
    what: str

    def __str__(self) -> str:
        missing = "店里还没有积分规则" if self.what == "points" else f"没有叫“{self.what}”的优惠"
        return f"奖励发不出来：{missing}"


# Reads


async def find(session: AsyncSession, key: str) -> CommunityTask | None:
    found: CommunityTask | None = await session.scalar(
        sa.select(CommunityTask).where(CommunityTask.key == key.strip()).execution_options(populate_existing=True)
    )
    return found


async def get(session: AsyncSession, key: str) -> CommunityTask:
    """Raises TaskNotFound."""
    found = await find(session, key)
    if found is None:
        raise TaskNotFound(key[:40])
    return found


async def everything(session: AsyncSession) -> list[CommunityTask]:
    """All tasks, those that began last at the top."""
    rows = await session.scalars(sa.select(CommunityTask).order_by(CommunityTask.starts_at.desc(), CommunityTask.id))
    return list(rows)


async def on_now(
    session: AsyncSession, *, kinds: Collection[TaskKind] = tuple(TaskKind), now: datetime, limit: int = 20
) -> list[CommunityTask]:
    """What can be done now, what ends first at the top."""
    rows = await session.scalars(
        sa.select(CommunityTask)
        .where(*open_at(now), CommunityTask.kind.in_(kinds))
        .order_by(CommunityTask.ends_at.is_(None), CommunityTask.ends_at, CommunityTask.id)
        .limit(limit)
    )
    return list(rows)


def open_at(now: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    """SQL for a task that takes answers at `now`."""
    return (
        CommunityTask.closed_at.is_(None),
        CommunityTask.starts_at <= now,
        sa.or_(CommunityTask.ends_at.is_(None), CommunityTask.ends_at > now),
    )


def is_open(task: CommunityTask, *, now: datetime) -> bool:
    return task.closed_at is None and task.starts_at <= now and (task.ends_at is None or now < task.ends_at)


def told(task: CommunityTask) -> AnyTask:
    """What it was told to be."""
    return definition.read(task.body)


def not_open(task: CommunityTask) -> TaskNotOpen:
    return TaskNotOpen(task.key, task.starts_at, task.closed_at or task.ends_at)


# Verbs


async def put(session: AsyncSession, key: str, task: AnyTask, *, now: datetime) -> CommunityTask:
    """Write a task down, or change the known one of this key. The same again changes nothing.

    Once somebody took part, what was asked stays: the WHERE clause and the table's CHECKs decide. Raises TaskFixed,
    RewardUnknown.
    """
    await check_rewards(session, key, task)
    values: dict[str, Any] = {
        "title": task.title,
        "kind": task.task,
        "body": definition.write(task),
        "starts_at": task.starts,
        "ends_at": task.ends,
        "most_rewards": task.most_rewards,
        "budget_points": task.budget_points,
    }
    fresh = insert(session, CommunityTask).values(
        key=key, version=1, entered=0, rewarded=0, spent_points=0, changed_at=now, **values
    )
    await session.execute(fresh.on_conflict_do_nothing(index_elements=["key"]))
    known = await get(session, key)
    if known.body == values["body"] and known.closed_at is None:
        return known
    moved = _moved(known, values["body"], task)
    guards = [CommunityTask.id == known.id]
    if moved:
        guards += [CommunityTask.entered == 0, CommunityTask.rewarded == 0]
    if task.most_rewards is not None:
        guards.append(CommunityTask.rewarded <= task.most_rewards)
    if task.budget_points is not None:
        guards.append(CommunityTask.spent_points <= task.budget_points)
    changed: CommunityTask | None = await session.scalar(
        sa.update(CommunityTask)
        .where(*guards)
        .values(**values, version=CommunityTask.version + int(bool(moved)), closed_at=None, changed_at=now)
        .returning(CommunityTask)
        .execution_options(populate_existing=True)
    )
    if changed is None:
        raise TaskFixed(key, _fixed(await get(session, key), task))
    return changed


async def close(session: AsyncSession, key: str, *, now: datetime) -> CommunityTask:
    """No more answers, and no more rewards. Raises TaskNotFound."""
    task = await get(session, key)
    task.closed_at = task.closed_at or now
    await session.flush()
    return task


async def check(session: AsyncSession, key: str, task: AnyTask) -> None:
    """Whether put() would take it, without writing. Raises TaskFixed, RewardUnknown."""
    await check_rewards(session, key, task)
    known = await find(session, key)
    if known is not None and (fields := _fixed(known, task)):
        raise TaskFixed(key, fields)


async def check_rewards(session: AsyncSession, key: str, task: AnyTask) -> None:
    """Raises RewardUnknown."""
    for reward in task.rewards:
        if reward.offer is not None and await offers.find(session, reward.offer) is None:
            raise RewardUnknown(key, reward.offer)
        if reward.points is not None and await loyalty_rules.of_points(session) is None:
            raise RewardUnknown(key, "points")


def _moved(known: CommunityTask, body: dict[str, Any], task: AnyTask) -> tuple[str, ...]:
    """The fields that would not be as they are, of those that stay once somebody took part."""
    return tuple(name for name in task.FIXED if known.body.get(name) != body.get(name))


def _fixed(known: CommunityTask, task: AnyTask) -> tuple[str, ...]:
    """The fields that cannot become what this says."""
    moved = _moved(known, definition.write(task), task) if known.entered or known.rewarded else ()
    tight = ((task.most_rewards, known.rewarded), (task.budget_points, known.spent_points))
    below = (name for name, (limit, used) in zip(("most_rewards", "budget_points"), tight, strict=True)
             if limit is not None and limit < used)  # fmt: skip
    return (*moved, *below)


SHOWN = frozenset({"title", "about", "ask", "why", "name", "options"})  # fields that members read


def mistakes(task: AnyTask, words: Words) -> list[dict[str, str]]:
    """Words that a text must not have, each with its field and reason."""
    wrong = []
    for field, text in _shown(definition.write(task), ()):
        for one in words.check(text):
            if one.level is Level.REFUSE:
                wrong.append({"field": field, "reason": f"“{one.text}”不能用（{one.kind}）：{one.suggest}"})
    return wrong


def _shown(part: Any, path: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    if isinstance(part, dict):
        for name, value in part.items():
            yield from _shown(value, (*path, str(name)))
    elif isinstance(part, list):
        for place, value in enumerate(part):
            yield from _shown(value, (*path, str(place)))
    elif isinstance(part, str) and SHOWN & set(path[-2:]):
        yield ".".join(path), part
