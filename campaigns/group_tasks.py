"""Mass sends into customer groups (客户群群发): one task for each owner, variant and link, confirmed by the owner.

A task carries one content, so groups with links of their own have tasks of their own. What broadcasts.py does for
customers this does for groups: the gate when put together and again when it leaves, and *sent* is WeCom's word alone.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns import deliveries, group_posts, guards, messages, staff_tasks
from campaigns.definition import Message
from campaigns.group_posts import GONE, MISSED, NO_OWNER, NOT_LISTED, Told, told_of
from campaigns.guard_rules import Decision, Gate, Verdict
from campaigns.models.campaign import BroadcastStatus, DeliveryStatus
from campaigns.models.group_post import GroupCopy, GroupPost, GroupTask, PostStatus
from campaigns.staff_tasks import (
    AWAKE,
    LEAST_DEADLINE,
    LOOK_AGAIN,
    LOOK_AT_OUTBOX,
    OPEN_ONES,
    POLL_FIRST,
    Copied,
    Look,
    Result,
    Task,
    end,
)
from crm.base import outbox
from crm.base.ids import dedupe_key
from crm.base.outbox import MarketingMessage, Status
from crm.models.group import Group
from crm.models.member import Staff

LANE = "group_broadcast"
TOGETHER = 2_000  # chat_ids of one task
LISTED_WITHIN = timedelta(minutes=30)  # a group that the results do not list so long after the tap did not get it
_quiet = {"synchronize_session": False}


def gate_ref(task_id: int) -> str:
    return f"group-task:{task_id}"


# Put together


async def assemble(session: AsyncSession, gate: Gate, *, now: datetime) -> bool:
    """Make one task of copies that are due; False when none are."""
    due = (GroupCopy.post_id == GroupPost.id, GroupCopy.due_at <= now)
    post = await session.scalar(
        sa.select(GroupPost)
        .where(GroupPost.status == PostStatus.OPEN, sa.exists().where(*due))
        .order_by(GroupPost.due_at, GroupPost.id)
        .limit(1)
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    )
    if post is None:
        return False
    told = told_of(post)
    some = await _alike(session, post.id, now=now)
    if told.until is not None and now >= told.until:
        await group_posts.leave_out(session, post.id, dict.fromkeys(some, MISSED))
        return True
    owner_id = next(iter(some.values())).owner_id
    if owner_id is None:
        await group_posts.leave_out(session, post.id, dict.fromkeys(some, NO_OWNER))
        return True
    first = await session.get_one(GroupCopy, (post.id, next(iter(some))))
    task = GroupTask(
        post_id=post.id, staff_id=owner_id, variant=first.variant, url=first.url, status=BroadcastStatus.WAITING,
        outbox_key=dedupe_key("group-task", post.id, first.group_id, now), waiting_since=now,
        poll_at=now + LOOK_AT_OUTBOX,
    )  # fmt: skip
    session.add(task)
    await session.flush()
    decisions = await guards.admit_groups(session, gate, dict.fromkeys(some, gate_ref(task.id)), now=now)
    refused = {one: why for one, why in decisions.items() if not why.is_allowed}
    await _hold(session, post.id, told, refused, now=now)
    going = [one for one in some if one not in refused]
    if not going:
        await session.delete(task)
        await session.flush()
        return True
    mine = sa.update(GroupCopy).where(GroupCopy.post_id == post.id, GroupCopy.group_id.in_(going))
    queued = {"status": DeliveryStatus.QUEUED, "reason": None, "due_at": None, "task_id": task.id}
    await session.execute(mine.values(**queued), execution_options=_quiet)
    await _put(session, task, told, now=now)
    return True


async def _alike(session: AsyncSession, post_id: int, *, now: datetime) -> dict[int, Group]:
    """Groups whose copy is due and that fit into one task: of one owner, variant and link."""
    rows = await session.execute(
        sa.select(GroupCopy, Group)
        .join(Group, Group.id == GroupCopy.group_id)
        .where(GroupCopy.post_id == post_id, GroupCopy.due_at <= now)
        .order_by(Group.owner_id, GroupCopy.variant, GroupCopy.url, GroupCopy.group_id)
        .limit(TOGETHER)
        .execution_options(populate_existing=True)
    )
    found = [(copy, group, (group.owner_id, copy.variant, copy.url)) for copy, group in rows]
    return {group.id: group for copy, group, kind in found if kind == found[0][2]}


async def _hold(session: AsyncSession, post_id: int, told: Told, no: Mapping[int, Decision], *, now: datetime) -> None:
    """Those the gate refuses are out; those it holds are due again, unless the post is over by then."""
    out: dict[int, str] = {}
    for group_id, why in no.items():
        due_at = why.until or now + LOOK_AGAIN
        if why.verdict is Verdict.REFUSED or (told.until is not None and due_at >= told.until):
            out[group_id] = why.code
            continue
        mine = sa.update(GroupCopy).where(GroupCopy.post_id == post_id, GroupCopy.group_id == group_id)
        held = mine.values(status=DeliveryStatus.HELD, reason=why.code, due_at=max(due_at, now + timedelta(seconds=1)))
        await session.execute(held, execution_options=_quiet)
    await group_posts.leave_out(session, post_id, out)


async def _put(session: AsyncSession, task: GroupTask, told: Told, *, now: datetime) -> None:
    ref = gate_ref(task.id)
    task.outbox_key = dedupe_key(ref)
    await session.flush()
    deadline = now + max(told.grace, LEAST_DEADLINE)
    message = MarketingMessage(
        lane=LANE,
        dedupe_key=task.outbox_key,
        gate_ref=ref,
        body={"broadcast_id": task.id},
        repeatable=False,
        deadline=min(deadline, told.until) if told.until is not None else deadline,
    )
    await outbox.put(session, [message], now=now)


# Asked for


async def ready(session: AsyncSession, task_id: int, *, now: datetime) -> Task | None:
    """The task as it is to be asked for at this instant; None when it must not be, or no group is left.

    Looked at again in the last moment: a stop, a restored database, a group that was dissolved or has a new owner.
    """
    row = await _find(session, task_id, locks=True)
    if row is None:
        return None
    task, post, sender = row
    told = told_of(post)
    may = (
        task.status is BroadcastStatus.WAITING
        and post.status is PostStatus.OPEN
        and now - post.ticked_at <= max(told.grace, AWAKE)
        and (told.until is None or now < told.until)
    )
    if not may:
        return None
    groups = await _groups(session, task_id)
    going = set(await guards.going_groups(session, gate_ref(task_id)))
    left = {one.id: one.chat_id for one in groups if one.id in going and one.owner_id == task.staff_id}
    out = [one.id for one in groups if one.id not in left]
    await _plan_again(session, post.id, out, now=now)
    if out:
        await guards.release(session, gate_ref(task_id), code="gate.not_sent", group_ids=out)
    if not left:
        end(task, BroadcastStatus.FAILED, now=now)
        await session.flush()
        return None
    return _task(task, post, sender, tuple(left.values()))


async def _groups(session: AsyncSession, task_id: int) -> Sequence[Group]:
    rows = await session.scalars(
        sa.select(Group)
        .join(GroupCopy, GroupCopy.group_id == Group.id)
        .where(GroupCopy.task_id == task_id)
        .order_by(Group.id)
        .execution_options(populate_existing=True)
    )
    return rows.unique().all()


def _task(task: GroupTask, post: GroupPost, sender: str, chat_ids: tuple[str, ...] = ()) -> Task:
    told = told_of(post)
    message = messages.for_all(told.messages[min(task.variant, len(told.messages) - 1)], now=task.waiting_since)
    return Task(
        task.id, sender, task.msgid, with_link(message, task.url), task.waiting_since, chat_ids, post.name,
        note=told.note, noted_once=f"{post.id}:{task.staff_id}" if told.note else "",
    )  # fmt: skip


def with_link(message: Message, url: str) -> Message:
    """The message with a group's own address: on its card, or below the text where it has none."""
    if not url:
        return message
    if message.link is not None:
        return message.model_copy(update={"link": message.link.model_copy(update={"url": url})})
    return message.model_copy(update={"text": f"{message.text}\n{url}"})


async def _find(session: AsyncSession, task_id: int, *, locks: bool = False) -> tuple[GroupTask, GroupPost, str] | None:
    query = (
        sa.select(GroupTask, GroupPost, Staff.userid)
        .join(GroupPost, GroupPost.id == GroupTask.post_id)
        .join(Staff, Staff.id == GroupTask.staff_id)
        .where(GroupTask.id == task_id)
        .execution_options(populate_existing=True)
    )
    row = (await session.execute(query.with_for_update(of=GroupTask) if locks else query)).first()
    return (row[0], row[1], row[2]) if row is not None else None


def asked(task: Task, msgid: str, unreachable: Collection[str], *, now: datetime) -> list[sa.Update]:
    """Statements for what is so once the platform has the task: its owner was asked, some groups will not get it."""
    mine = (GroupCopy.task_id == task.id, GroupCopy.status == DeliveryStatus.QUEUED)
    lost = sa.select(Group.id).where(Group.chat_id.in_(unreachable))
    failed = {"status": DeliveryStatus.FAILED, "reason": deliveries.UNREACHABLE}
    return [
        sa.update(GroupTask)
        .where(GroupTask.id == task.id, GroupTask.status == BroadcastStatus.WAITING)
        .values(status=BroadcastStatus.ASKED, msgid=msgid, asked_at=now, poll_at=now + POLL_FIRST),
        sa.update(GroupCopy).where(*mine, GroupCopy.group_id.in_(lost)).values(**failed),
        sa.update(GroupCopy).where(*mine).values(status=DeliveryStatus.ASKED),
    ]


# Followed


async def claim_due(session: AsyncSession, *, now: datetime) -> list[int]:
    """Tasks that are looked at now, by us alone for a minute."""
    return await staff_tasks.claim_due(session, GroupTask, now=now)


async def look(session: AsyncSession, task_id: int, *, now: datetime) -> tuple[Look, Task] | None:
    """What is to be done about a task at the platform. What our own outbox knows is settled here."""
    row = await _find(session, task_id, locks=True)
    if row is None or row[0].status not in OPEN_ONES:
        return None
    task, post, sender = row
    told = told_of(post)
    if task.status is BroadcastStatus.WAITING:
        what = await _look_at_outbox(session, task, now=now)
    elif (
        post.status is PostStatus.CANCELLED
        or _ends_at(task, told, now) <= now
        or await staff_tasks.is_stopped(session, task)
    ):
        what = Look.TAKE_BACK
    elif staff_tasks.reminds(task, told.remind_after, now):
        what = Look.REMIND
    else:
        what = Look.ASK
    chat_ids = tuple(one.chat_id for one in await _groups(session, task_id)) if what is Look.FIND else ()
    await session.flush()
    return what, _task(task, post, sender, chat_ids)


def _ends_at(task: GroupTask, told: Told, now: datetime) -> datetime:
    """When it is taken back; once tapped, until when its groups may still be listed."""
    if task.confirmed_at is not None:
        return task.confirmed_at + LISTED_WITHIN
    ends = (task.asked_at or now) + told.confirm_within
    return min(ends, told.until) if told.until is not None else ends


async def _look_at_outbox(session: AsyncSession, task: GroupTask, *, now: datetime) -> Look:
    status, error = await staff_tasks.outbox_says(session, task)
    if status is Status.UNKNOWN:
        return Look.FIND
    if status is Status.DEAD:
        await lose(session, task.id, error or deliveries.NOT_SENT, now=now)
    elif status in (Status.CANCELLED, Status.SENT):
        await never_left(session, task.id, error or "taken back", now=now)
    return Look.NOTHING


async def never_left(session: AsyncSession, task_id: int, why: str, *, now: datetime) -> None:
    """It never became a task: its groups are planned again, or end with a post that was cancelled."""
    task = await session.get_one(GroupTask, task_id)
    post = await session.get_one(GroupPost, task.post_id)
    await guards.release(session, gate_ref(task_id), code="gate.not_sent")
    left = await _still_open(session, task_id)
    if post.status is PostStatus.CANCELLED:
        await group_posts.leave_out(session, post.id, dict.fromkeys(left, deliveries.CANCELLED))
    else:
        await _plan_again(session, post.id, left, now=now)
    task.error = why[:500]
    end(task, BroadcastStatus.FAILED, now=now)
    await session.flush()


async def _plan_again(session: AsyncSession, post_id: int, group_ids: Collection[int], *, now: datetime) -> None:
    if not group_ids:
        return
    gone = set(
        await session.scalars(sa.select(Group.id).where(Group.id.in_(group_ids), Group.dismissed_at.is_not(None)))
    )
    await group_posts.leave_out(session, post_id, dict.fromkeys(gone, GONE))
    mine = sa.update(GroupCopy).where(GroupCopy.post_id == post_id, GroupCopy.group_id.in_(set(group_ids) - gone))
    waits = mine.where(GroupCopy.status.in_((DeliveryStatus.QUEUED, DeliveryStatus.ASKED)))
    again = {"status": DeliveryStatus.PLANNED, "due_at": now, "task_id": None, "reason": None}
    await session.execute(waits.values(**again), execution_options=_quiet)


async def never_was(session: AsyncSession, task_id: int, *, now: datetime) -> bool:
    """The platform does not list a task of unknown outcome: it never was. False: too early to say so."""
    row = await _find(session, task_id, locks=True)
    if row is None or row[0].status is not BroadcastStatus.WAITING:
        return False
    if not await staff_tasks.was_long_ago(session, row[0], now=now):
        return False
    await never_left(session, task_id, "not at the platform", now=now)
    return True


async def is_known(session: AsyncSession, msgid: str) -> bool:
    return await session.scalar(sa.select(GroupTask.id).where(GroupTask.msgid == msgid)) is not None


async def reminded(session: AsyncSession, task_id: int) -> None:
    count = sa.update(GroupTask).where(GroupTask.id == task_id).values(reminders=GroupTask.reminders + 1)
    await session.execute(count, execution_options=_quiet)


async def take_results(
    session: AsyncSession,
    task_id: int,
    results: Sequence[Result],
    *,
    confirmed_at: datetime | None,
    is_over: bool = False,
    now: datetime,
) -> None:
    """What the platform says by now; of groups it lists only those that got it. is_over: nothing more will come."""
    row = await _find(session, task_id, locks=True)
    if row is None or row[0].status not in OPEN_ONES:
        return
    task, post = row[0], row[1]
    id_of = {one.chat_id: one.id for one in await _groups(session, task_id)}
    said = {id_of[one.recipient]: one for one in results if one.recipient in id_of}
    sent_at = {one: said[one].sent_at or confirmed_at or now for one in said if said[one].copied is Copied.SENT}
    for group_id, at in sent_at.items():
        await _sent(session, task, group_id, at)
    if confirmed_at is not None and task.confirmed_at is None:
        task.confirmed_at, task.status = confirmed_at, BroadcastStatus.CONFIRMED
    left = await _still_open(session, task_id)
    if is_over and left:
        why = await staff_tasks.why_over(session, task, is_cancelled=post.status is PostStatus.CANCELLED)
        await _fail(session, task_id, left, NOT_LISTED if task.confirmed_at is not None else why)
        await guards.release(session, gate_ref(task_id), code="gate.not_sent", group_ids=left)
    told = told_of(post)
    if is_over or not left:
        end(task, BroadcastStatus.DONE, now=now)
    else:
        task.poll_at = staff_tasks.next_look(task, told.remind_after, _ends_at(task, told, now), now)
    await session.flush()


async def _sent(session: AsyncSession, task: GroupTask, group_id: int, at: datetime) -> None:
    """Also of one that had ended otherwise: a task taken back too late was sent all the same."""
    mine = sa.update(GroupCopy).where(GroupCopy.task_id == task.id, GroupCopy.group_id == group_id)
    news = mine.where(GroupCopy.status != DeliveryStatus.SENT)
    await session.execute(
        news.values(status=DeliveryStatus.SENT, sent_at=at, reason=None, due_at=None), execution_options=_quiet
    )
    for statement in guards.sent(gate_ref(task.id), at=at, group_ids=[group_id]):
        await session.execute(statement)


async def _still_open(session: AsyncSession, task_id: int) -> list[int]:
    waits = (DeliveryStatus.QUEUED, DeliveryStatus.ASKED)
    rows = await session.scalars(
        sa.select(GroupCopy.group_id).where(GroupCopy.task_id == task_id, GroupCopy.status.in_(waits))
    )
    return list(rows)


async def _fail(session: AsyncSession, task_id: int, group_ids: Collection[int], reason: str) -> None:
    mine = sa.update(GroupCopy).where(GroupCopy.task_id == task_id, GroupCopy.group_id.in_(group_ids))
    failed = {"status": DeliveryStatus.FAILED, "reason": reason[:60], "due_at": None}
    await session.execute(mine.values(**failed), execution_options=_quiet)


async def lose(session: AsyncSession, task_id: int, reason: str, *, now: datetime) -> None:
    """It never became a task: none of its groups gets it."""
    task = await session.get_one(GroupTask, task_id)
    left = await _still_open(session, task_id)
    await guards.release(session, gate_ref(task_id), code="gate.not_sent")
    await _fail(session, task_id, left, reason)
    task.error = reason[:500]
    end(task, BroadcastStatus.FAILED, now=now)
    await session.flush()
