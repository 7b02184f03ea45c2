"""Posts into customer groups: what is said to which of them, stopped and gone on with, and how far each has come.

WeCom lets no program write into a customer group: the group's owner confirms a task (group_tasks.py), so asked,
confirmed and sent are three facts here as well. A group's copy ends as sent, or with a reason.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns import deliveries, staff_tasks
from campaigns.definition import MOST_MESSAGES, Duration, Instant, Message, Part
from campaigns.models.campaign import OPEN, BroadcastStatus, DeliveryStatus
from campaigns.models.group_post import GroupCopy, GroupPost, GroupTask, PostStatus
from campaigns.staff_tasks import Note
from crm.base import outbox
from crm.base.db import insert, insert_all
from crm.base.outbox import OutboxRow
from crm.models.group import Group
from crm.models.member import Staff

NO_OWNER, GONE, MISSED, NOT_LISTED = "no_owner", "gate.group_gone", "too_late", "not_listed"
TOUCH_EVERY = timedelta(minutes=1)
WAITS = (DeliveryStatus.PLANNED, DeliveryStatus.HELD)
LIVING = (PostStatus.OPEN, PostStatus.PAUSED, PostStatus.ASKS)
_quiet = {"synchronize_session": False}


class Told(Part):
    """How a post is made. until: after this nothing of it is asked for any more, and what waits is taken back."""

    messages: tuple[Message, ...] = Field(min_length=1, max_length=MOST_MESSAGES)
    grace: Duration = timedelta(hours=2)
    confirm_within: Duration = timedelta(hours=24)
    remind_after: tuple[Duration, ...] = Field((timedelta(hours=1), timedelta(hours=4)), max_length=3)
    until: Instant | None = None
    note: Note | None = None  # None: the usual words, for each task


@dataclass(frozen=True, slots=True)
class Target:
    """A group and what is its own: the variant it reads, its link."""

    group_id: int
    variant: int = 0
    url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """How far one group's copy has come. due_at: when it is tried again, of one that is held."""

    group_id: int
    group: str
    userid: str  # of whoever has the task, else of the owner
    staff: str
    status: DeliveryStatus
    reason: str | None
    due_at: datetime | None
    asked_at: datetime | None
    confirmed_at: datetime | None
    sent_at: datetime | None
    reminders: int


@dataclass(frozen=True, slots=True)
class Progress:
    """A post as its manager asks after it."""

    status: PostStatus
    due_at: datetime
    groups: tuple[Stand, ...]

    @property
    def sent(self) -> int:
        return sum(one.status is DeliveryStatus.SENT for one in self.groups)

    @property
    def waiting(self) -> tuple[Stand, ...]:
        """Those whose owner has the task and has not tapped, the longest first."""
        waits = [one for one in self.groups if one.status is DeliveryStatus.ASKED and one.confirmed_at is None]
        return tuple(sorted(waits, key=lambda one: (one.asked_at or self.due_at, one.group_id)))


# Reads


def told_of(post: GroupPost) -> Told:
    return Told.model_validate(post.told)


async def find(session: AsyncSession, ref: str) -> GroupPost | None:
    found: GroupPost | None = await session.scalar(
        sa.select(GroupPost).where(GroupPost.ref == ref).execution_options(populate_existing=True)
    )
    return found


async def progress(session: AsyncSession, ref: str) -> Progress | None:
    """Every group of a post, who has not sent it first. None: there is no such post."""
    post = await find(session, ref)
    if post is None:
        return None
    rows = await session.execute(
        sa.select(
            GroupCopy.group_id,
            Group.name.label("group"),
            sa.func.coalesce(Staff.userid, "").label("userid"),
            sa.func.coalesce(Staff.name, "").label("staff"),
            *(getattr(GroupCopy, name) for name in ("status", "reason", "due_at", "sent_at")),
            GroupTask.asked_at,
            GroupTask.confirmed_at,
            sa.func.coalesce(GroupTask.reminders, 0).label("reminders"),
        )
        .join(Group, Group.id == GroupCopy.group_id)
        .outerjoin(GroupTask, GroupTask.id == GroupCopy.task_id)
        .outerjoin(Staff, Staff.id == sa.func.coalesce(GroupTask.staff_id, Group.owner_id))
        .where(GroupCopy.post_id == post.id)
    )
    stands = [Stand(**row._mapping) for row in rows]
    stands.sort(key=lambda one: (one.status is DeliveryStatus.SENT, one.userid, one.group_id))
    return Progress(post.status, post.due_at, tuple(stands))


async def figures(session: AsyncSession, ref: str) -> dict[str, Any]:
    """How many groups stand where, and why those without it have none: shaped as deliveries.figures()."""
    rows = await session.execute(
        sa.select(GroupCopy.status, GroupCopy.reason, sa.func.count())
        .join(GroupPost, GroupPost.id == GroupCopy.post_id)
        .where(GroupPost.ref == ref)
        .group_by(GroupCopy.status, GroupCopy.reason)
    )
    return deliveries.count(rows)


# Verbs


async def put(
    session: AsyncSession, ref: str, name: str, told: Told, targets: Sequence[Target], *, due_at: datetime,
    now: datetime,
) -> int | None:  # fmt: skip
    """A post to these groups, put into tasks from `due_at` on; None when there is one under this reference."""
    row = insert(session, GroupPost).values(
        ref=ref, name=name, status=PostStatus.OPEN, told=told.model_dump(mode="json", exclude_none=True),
        due_at=due_at, ticked_at=now,
    )  # fmt: skip
    post_id: int | None = await session.scalar(row.on_conflict_do_nothing().returning(GroupPost.id))
    if post_id is None:
        return None
    rows = [
        {
            "post_id": post_id, "group_id": one.group_id, "variant": one.variant, "url": one.url,
            "status": DeliveryStatus.PLANNED, "due_at": due_at,
        }
        for one in targets
    ]  # fmt: skip
    await insert_all(session, GroupCopy.__table__, rows)
    return post_id


async def stop(session: AsyncSession, ref: str, to: PostStatus, *, now: datetime) -> bool:
    """Pause or cancel: what has not left shall not. A cancel takes back what owners have not confirmed, too.

    Whether this call did it.
    """
    ended = {"ended_at": now} if to is PostStatus.CANCELLED else {}
    moving = sa.update(GroupPost).where(GroupPost.ref == ref, GroupPost.status.in_(LIVING), GroupPost.status != to)
    post_id = await session.scalar(moving.values(status=to, **ended).returning(GroupPost.id), execution_options=_quiet)
    if post_id is None:
        return False
    await take_back_waiting(session, post_id, now=now)
    if to is PostStatus.CANCELLED:
        left = sa.update(GroupCopy).where(GroupCopy.post_id == post_id, GroupCopy.status.in_(WAITS))
        closed = left.values(status=DeliveryStatus.SKIPPED, reason=deliveries.CANCELLED, due_at=None)
        await session.execute(closed, execution_options=_quiet)
    await _look_soon(session, post_id, now=now)
    return True


async def go_on(session: AsyncSession, ref: str, *, now: datetime) -> bool:
    """One that was paused, or that asks, goes on where it stopped; whether it did."""
    moving = sa.update(GroupPost).where(
        GroupPost.ref == ref, GroupPost.status.in_((PostStatus.PAUSED, PostStatus.ASKS))
    )
    awake = moving.values(status=PostStatus.OPEN, ticked_at=now).returning(GroupPost.id)
    post_id = await session.scalar(awake, execution_options=_quiet)
    if post_id is None:
        return False
    await _look_soon(session, post_id, now=now)
    return True


async def watch(session: AsyncSession, *, now: datetime) -> list[str]:
    """Note that posts are awake; one that slept past its grace asks before it goes on. Returns the references."""
    rows = await session.scalars(
        sa.select(GroupPost)
        .where(GroupPost.status == PostStatus.OPEN, GroupPost.ticked_at < now - TOUCH_EVERY)
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    )
    asks: list[GroupPost] = []
    for post in rows.all():
        if now - post.ticked_at > max(told_of(post).grace, staff_tasks.AWAKE):
            post.status = PostStatus.ASKS
            asks.append(post)
        else:
            post.ticked_at = now
    await session.flush()
    for post in asks:
        await take_back_waiting(session, post.id, now=now)
    return [post.ref for post in asks]


async def finish(session: AsyncSession, *, now: datetime) -> int:
    """Posts of which every group has its end are done; returns how many."""
    open_ones = sa.exists().where(GroupCopy.post_id == GroupPost.id, GroupCopy.status.in_(OPEN))
    over = sa.update(GroupPost).where(GroupPost.status == PostStatus.OPEN, ~open_ones)
    done = over.values(status=PostStatus.DONE, ended_at=now).returning(GroupPost.id)
    return len((await session.scalars(done, execution_options=_quiet)).all())


async def take_back_waiting(session: AsyncSession, post_id: int, *, now: datetime) -> None:
    """Tasks that have not left yet shall not, for now; group_tasks.look() says how they go on."""
    keys = sa.select(GroupTask.outbox_key).where(
        GroupTask.post_id == post_id, GroupTask.status == BroadcastStatus.WAITING
    )
    await outbox.cancel(session, OutboxRow.dedupe_key.in_(keys), reason="taken back", now=now)


async def _look_soon(session: AsyncSession, post_id: int, *, now: datetime) -> None:
    mine = sa.update(GroupTask).where(GroupTask.post_id == post_id, GroupTask.poll_at.is_not(None))
    await session.execute(mine.values(poll_at=now), execution_options=_quiet)


async def leave_out(session: AsyncSession, post_id: int, reasons: Mapping[int, str]) -> None:
    """These groups will not get it, by a rule of ours."""
    for reason in sorted(set(reasons.values())):
        ids = [one for one, why in reasons.items() if why == reason]
        mine = sa.update(GroupCopy).where(GroupCopy.post_id == post_id, GroupCopy.group_id.in_(ids))
        out = mine.where(GroupCopy.status.in_(OPEN))
        values = {"status": DeliveryStatus.SKIPPED, "reason": reason, "due_at": None, "task_id": None}
        await session.execute(out.values(**values), execution_options=_quiet)
