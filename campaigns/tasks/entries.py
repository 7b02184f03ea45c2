"""Answers to quizzes, and votes: one a person, counted while the task is open, with its reward in one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns.models.task import CommunityTask, TaskEntry, TaskKind
from campaigns.tasks import rewards, store
from campaigns.tasks.definition import AnyTask, Quiz, Vote
from campaigns.tasks.rewards import Given, theirs
from campaigns.tasks.store import TaskNotFound
from crm.base import events
from crm.base.db import insert
from crm.base.errors import Invalid, Refused
from crm.models.member import Member

DONE = "done"  # the one step of a quiz or a vote


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskDone:
    """A member answered a quiz, or voted. Appended by answer()."""

    member_id: int
    task_id: int
    key: str
    kind: str
    is_passed: bool


@dataclass(eq=False)
class AlreadyDone(Refused):
    """Once a person is enough."""

    code: ClassVar[str] = "task.already_done"
    key: str
    done_at: datetime


@dataclass(eq=False)
class TaskChanged(Refused):
    """The shop changed what it asks since the member looked: look again."""

    code: ClassVar[str] = "task.changed"
    key: str


@dataclass(eq=False)
class ChoiceWrong(Invalid):
    """These are no options of it, or one question has no answer."""

    code: ClassVar[str] = "task.choice_wrong"
    key: str


@dataclass(frozen=True, slots=True)
class Answered:
    """What came of an answer. reward None: the task has none, or this person did not pass."""

    task: CommunityTask
    entry: TaskEntry
    reward: Given | None


@dataclass(frozen=True, slots=True)
class Tally:
    """How many chose an option."""

    name: str
    votes: int


# Reads


async def entry_of(session: AsyncSession, task_id: int, member_id: int) -> TaskEntry | None:
    """This person's answer: of several that became one person, the first."""
    mine = (TaskEntry.task_id == task_id, TaskEntry.member_id.in_(theirs(member_id)))
    found: TaskEntry | None = await session.scalar(sa.select(TaskEntry).where(*mine).order_by(TaskEntry.id).limit(1))
    return found


async def tally(session: AsyncSession, task: CommunityTask) -> list[Tally]:
    """The votes as they stand, one a person: who became one person with somebody counts by their first."""
    person = sa.func.coalesce(Member.merged_into_id, Member.id)
    place = sa.func.row_number().over(partition_by=person, order_by=TaskEntry.id)
    votes = (
        sa.select(TaskEntry.choice, place.label("place"))
        .join(Member, Member.id == TaskEntry.member_id)
        .where(TaskEntry.task_id == task.id)
        .subquery()
    )
    counted = sa.select(votes.c.choice, sa.func.count()).where(votes.c.place == 1).group_by(votes.c.choice)
    found = {row.choice: row[1] for row in await session.execute(counted)}
    vote = store.told(task)
    names = [one.name for one in vote.options] if isinstance(vote, Vote) else []
    return [Tally(name, found.get(number, 0)) for number, name in enumerate(names, 1)]


# Verbs


async def answer(
    session: AsyncSession,
    key: str,
    member_id: int,
    choices: Sequence[int],
    *,
    version: int,
    channel: str,
    now: datetime,
) -> Answered:
    """A quiz's answers, or a vote, with its reward. version: of the task that the member saw.

    The WHERE clause decides whether it is open and still the same, the unique key whether this is the first. Raises
    TaskNotFound, TaskNotOpen, TaskChanged, ChoiceWrong, AlreadyDone, PersonErased; nothing is written then.
    """
    async with session.begin_nested():
        member_id = await rewards.hold(session, member_id)
        known = await store.get(session, key)
        if known.kind not in (TaskKind.QUIZ, TaskKind.VOTE):
            raise TaskNotFound(key)
        if (done := await entry_of(session, known.id, member_id)) is not None:
            raise AlreadyDone(key, done.entered_at)
        task = await session.scalar(
            sa.update(CommunityTask)
            .where(CommunityTask.id == known.id, *store.open_at(now), CommunityTask.version == version)
            .values(entered=CommunityTask.entered + 1)
            .returning(CommunityTask)
            .execution_options(populate_existing=True)
        )
        if task is None:
            raise TaskChanged(key) if store.is_open(await store.get(session, key), now=now) else store.not_open(known)
        told = store.told(task)
        entry = await _write(session, task, told, member_id, choices, channel=channel, now=now)
        given = None
        if isinstance(told, Quiz | Vote) and told.reward is not None and entry.is_passed:
            given = await rewards.give(session, task, told.reward, member_id, step=DONE, now=now)
        done_ = TaskDone(member_id=member_id, task_id=task.id, key=key, kind=task.kind.value, is_passed=entry.is_passed)
        await events.append(session, done_, now=now)
    return Answered(task, entry, given)


async def _write(
    session: AsyncSession,
    task: CommunityTask,
    told: AnyTask,
    member_id: int,
    choices: Sequence[int],
    *,
    channel: str,
    now: datetime,
) -> TaskEntry:
    score, is_passed, choice = graded(told, choices, key=task.key)
    row = insert(session, TaskEntry).values(
        task_id=task.id, member_id=member_id, version=task.version, choices=list(choices), choice=choice, score=score,
        is_passed=is_passed, channel=channel, entered_at=now,
    )  # fmt: skip
    entry: TaskEntry | None = await session.scalar(row.on_conflict_do_nothing().returning(TaskEntry))
    if entry is None:
        raise AlreadyDone(task.key, now)
    return entry


def graded(told: AnyTask, choices: Sequence[int], *, key: str) -> tuple[int, bool, int]:
    """How many are right, whether that is enough, and of a vote the option chosen. Raises ChoiceWrong."""
    if isinstance(told, Vote):
        if len(choices) != 1 or not 1 <= choices[0] <= len(told.options):
            raise ChoiceWrong(key)
        return 0, True, choices[0]
    if not isinstance(told, Quiz) or len(choices) != len(told.questions):
        raise ChoiceWrong(key)
    if any(not 1 <= one <= len(asked.options) for one, asked in zip(choices, told.questions, strict=True)):
        raise ChoiceWrong(key)
    right = sum(one == asked.answer for one, asked in zip(choices, told.questions, strict=True))
    return right, right >= told.takes, 0
