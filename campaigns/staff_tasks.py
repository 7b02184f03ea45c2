"""What all mass-send tasks have in common: asked for once, confirmed by a person, followed until their end.

A task goes to customers (broadcasts.py) or into customer groups (group_tasks.py). The edge follows both alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns import brakes, deliveries
from campaigns.definition import Message, Part
from campaigns.models.campaign import Broadcast, BroadcastStatus
from campaigns.models.group_post import GroupTask
from crm.base.outbox import OutboxRow, Status

LEAST_DEADLINE = timedelta(minutes=10)
LOOK_AGAIN = timedelta(minutes=1)  # the gate does not know until when it holds somebody
LOOK_AT_OUTBOX = timedelta(seconds=10)
POLL_FIRST, POLL_MOST = timedelta(minutes=1), timedelta(minutes=30)
NOT_FOUND_AFTER = timedelta(minutes=2)  # a task of unknown outcome that the platform does not list by then never was
AWAKE = timedelta(minutes=10)
OPEN_ONES = (BroadcastStatus.WAITING, BroadcastStatus.ASKED, BroadcastStatus.CONFIRMED)

AnyTask = Broadcast | GroupTask


class Copied(StrEnum):
    """What the platform says about one copy."""

    NOT_YET = "not_yet"
    SENT = "sent"
    NO_LONGER_CONTACT = deliveries.NO_LONGER_CONTACT
    LIMIT_REACHED = deliveries.LIMIT_REACHED


@dataclass(frozen=True, slots=True)
class Result:
    recipient: str  # external_userid or chat_id
    copied: Copied
    sent_at: datetime | None


class Note(Part):
    """What an owner reads about a post, once for all their groups. url: where they can see what it is about."""

    title: str
    text: str
    url: str = ""


@dataclass(frozen=True, slots=True)
class Task:
    """A mass send as the edge asks the platform for it, or asks about it."""

    id: int
    sender: str  # userid
    msgid: str | None
    message: Message
    waiting_since: datetime
    recipients: tuple[str, ...] = ()  # external_userids or chat_ids
    campaign: str = ""
    note: Note | None = None  # None: the usual words
    noted_once: str = ""  # tasks with the same word here give one note to a sender together


class Look(StrEnum):
    """What the edge does about a task now."""

    NOTHING = "nothing"
    FIND = "find"  # nobody knows whether it was asked for
    ASK = "ask"  # how far it is
    REMIND = "remind"  # too, and remind the sender
    TAKE_BACK = "take_back"  # its time is over, or it was cancelled


async def claim_due(session: AsyncSession, table: type[AnyTask], *, now: datetime, limit: int = 50) -> list[int]:
    """Tasks that are looked at now, by us alone for a minute."""
    model: Any = table
    due = (
        sa.select(model.id)
        .where(model.poll_at <= now)
        .order_by(model.poll_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    taken = sa.update(model).where(model.id.in_(sa.select(due.c.id))).values(poll_at=now + POLL_FIRST)
    quiet = {"synchronize_session": False}
    return sorted(await session.scalars(taken.returning(model.id), execution_options=quiet))


async def outbox_says(session: AsyncSession, task: AnyTask) -> tuple[Status, str]:
    """What became of the message that asks for it, and why."""
    row = await session.execute(
        sa.select(OutboxRow.status, OutboxRow.error).where(OutboxRow.dedupe_key == task.outbox_key)
    )
    status, error = row.one()
    return status, error or ""


async def was_long_ago(session: AsyncSession, task: AnyTask, *, now: datetime) -> bool:
    """Whether asking for it ended so long ago that the platform would list it by now."""
    settled = await session.scalar(sa.select(OutboxRow.settled_at).where(OutboxRow.dedupe_key == task.outbox_key))
    return settled is not None and now - settled >= NOT_FOUND_AFTER


async def is_stopped(session: AsyncSession, task: AnyTask) -> bool:
    """Whether the emergency brake takes it back: staff have it and nobody has tapped."""
    return task.status is BroadcastStatus.ASKED and await brakes.is_on(session)


async def why_over(session: AsyncSession, task: AnyTask, *, is_cancelled: bool) -> str:
    """Why those whom a task taken back did not reach get nothing. A stop is final: a tap may have come in between, and
    who got it would get it again."""
    if is_cancelled:
        return deliveries.CANCELLED
    return deliveries.STOPPED if await is_stopped(session, task) else deliveries.NOT_CONFIRMED


async def look_at_all(session: AsyncSession, *, now: datetime) -> None:
    """Have every task that staff hold looked at now."""
    for model in (Broadcast, GroupTask):
        held = sa.update(model).where(model.poll_at > now, model.status == BroadcastStatus.ASKED)
        await session.execute(held.values(poll_at=now), execution_options={"synchronize_session": False})


def reminds(task: AnyTask, remind_after: Sequence[timedelta], now: datetime) -> bool:
    """Whether its sender should hear of it again."""
    if task.status is not BroadcastStatus.ASKED or task.asked_at is None:
        return False
    return task.reminders < len(remind_after) and now >= task.asked_at + remind_after[task.reminders]


def next_look(task: AnyTask, remind_after: Sequence[timedelta], ends_at: datetime, now: datetime) -> datetime:
    """The older the task, the more seldom; but when a reminder or the end of its time is due, then."""
    asked_at = task.asked_at or now
    usual = now + min(max((now - asked_at) / 10, POLL_FIRST), POLL_MOST)
    times = [ends_at]
    if task.status is BroadcastStatus.ASKED:
        times += [asked_at + after for after in remind_after[task.reminders :]]
    return max(now + LOOK_AT_OUTBOX, min([usual, *times]))  # never at once: a call that fails is not hammered


def end(task: AnyTask, status: BroadcastStatus, *, now: datetime) -> None:
    task.status, task.poll_at, task.ended_at = status, None, now
