"""Mass sends (企业群发): put together, asked for, confirmed by staff, and sent when the platform says so.

One task for each (sender, tier, variant) of a run, of at most 10,000 customers. Asking is not repeatable at the
platform, so a task of unknown outcome is looked for there before it is asked for again.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns import definition, deliveries, guards, messages, staff_tasks
from campaigns.definition import Definition
from campaigns.guard_rules import Channel, Decision, Gate, Verdict
from campaigns.models.campaign import (
    Batch,
    Broadcast,
    BroadcastStatus,
    Campaign,
    CampaignStatus,
    Copy,
    Delivery,
    DeliveryStatus,
    Run,
    RunStatus,
)
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
from crm.base.db import is_among
from crm.base.ids import dedupe_key
from crm.base.outbox import MarketingMessage, OutboxRow, Status
from crm.models.member import Staff

LANE = "broadcast"
TOGETHER = 10_000  # external_userids of one task
_quiet = {"synchronize_session": False}


def gate_ref(broadcast_id: int) -> str:
    return f"broadcast:{broadcast_id}"


# Put together


async def assemble(session: AsyncSession, run: Run, told: Definition, gate: Gate, *, now: datetime) -> bool:
    """Make one task of copies that have none yet; False when all have. The caller holds the run's lock."""
    loose = (Copy.run_id == run.id, Copy.broadcast_id.is_(None))
    first = (await session.execute(sa.select(Copy).where(*loose).order_by(Copy.staff_id).limit(1))).scalar()
    if first is None:
        return False
    alike = (Copy.staff_id == first.staff_id, Copy.variant == first.variant, Copy.tier.is_not_distinct_from(first.tier))
    some = sa.select(Copy.member_id).where(*loose, *alike).order_by(Copy.member_id).limit(TOGETHER)
    member_ids = list(await session.scalars(some))
    broadcast = Broadcast(
        run_id=run.id,
        staff_id=first.staff_id,
        variant=first.variant,
        tier=first.tier,
        status=BroadcastStatus.WAITING,
        outbox_key=dedupe_key("broadcast", run.id, first.member_id, now),  # until it has its number
        waiting_since=now,
        poll_at=now + LOOK_AT_OUTBOX,
    )
    session.add(broadcast)
    await session.flush()
    ref = gate_ref(broadcast.id)
    decisions = await guards.admit(
        session, gate, dict.fromkeys(member_ids, ref), channel=Channel.BROADCAST, topic=told.topic, now=now
    )
    refused = {one: decision for one, decision in decisions.items() if not decision.is_allowed}
    await _leave_out(session, run.id, refused, now=now)
    going = [one for one in member_ids if one not in refused]
    if not going:
        await session.delete(broadcast)
        await session.flush()
        return True
    mine = sa.update(Copy).where(Copy.run_id == run.id, is_among(session, Copy.member_id, going))
    await session.execute(mine.values(broadcast_id=broadcast.id), execution_options=_quiet)
    await _put(session, broadcast, told, now=now)
    return True


async def _leave_out(session: AsyncSession, run_id: int, no: Mapping[int, Decision], *, now: datetime) -> None:
    """Those the gate refuses lose their copy; those it holds are due again with their batch."""
    held = {one: why.until or now + LOOK_AGAIN for one, why in no.items() if why.verdict is Verdict.HELD}
    await _give_back(session, run_id, no, due=held)
    await deliveries.decide(session, run_id, no)


async def _give_back(
    session: AsyncSession, run_id: int, member_ids: Collection[int], *, due: Mapping[int, datetime]
) -> None:
    """These members' copies are gone, they are planned again, and their batches are due as `due` says."""
    if not member_ids:
        return
    before = (DeliveryStatus.QUEUED, DeliveryStatus.ASKED)
    await deliveries.move(session, run_id, member_ids, DeliveryStatus.PLANNED, before=before, channel=None)
    lost = sa.delete(Copy).where(Copy.run_id == run_id, is_among(session, Copy.member_id, member_ids))
    await session.execute(lost, execution_options=_quiet)
    batches = sa.select(Batch).where(Batch.run_id == run_id).with_for_update()
    for batch in (await session.scalars(batches)).all() if due else ():
        times = [at for one, at in due.items() if batch.after_id < one <= batch.upto_id]
        if times:
            batch.due_at = min([*times, *([batch.due_at] if batch.due_at else [])])
    await session.flush()


async def _put(session: AsyncSession, broadcast: Broadcast, told: Definition, *, now: datetime) -> None:
    ref = gate_ref(broadcast.id)
    broadcast.outbox_key = dedupe_key(ref)
    await session.flush()
    message = MarketingMessage(
        lane=LANE,
        dedupe_key=broadcast.outbox_key,
        gate_ref=ref,
        body={"broadcast_id": broadcast.id},
        repeatable=False,
        deadline=now + max(told.grace, LEAST_DEADLINE),
    )
    await outbox.put(session, [message], now=now)


# Asked for


async def ready(session: AsyncSession, broadcast_id: int, *, now: datetime) -> Task | None:
    """The task as it is to be asked for at this instant; None when it must not be, or nobody is left.

    Looked at again in the last moment: a pause, a cancel, a database restored from yesterday, who opted out since.
    """
    row = await _find(session, broadcast_id, locks=True)
    if row is None:
        return None
    broadcast, run, campaign, sender = row
    may = (
        broadcast.status is BroadcastStatus.WAITING
        and campaign.status is CampaignStatus.RUNNING
        and run.status in (RunStatus.PLANNING, RunStatus.SENDING)
        and now - run.ticked_at <= max(definition.read(run.definition).grace, AWAKE)
    )
    if not may:
        return None
    copies = {one.member_id: one.external_userid for one in await _copies(session, broadcast_id)}
    going = set(await guards.going(session, gate_ref(broadcast_id)))
    out = copies.keys() - going  # the gate has just looked at them again, see sender.py; the next plan says why
    await _give_back(session, run.id, out, due=dict.fromkeys(out, now))
    left = tuple(external for one, external in copies.items() if one in going)
    if not left:
        end(broadcast, BroadcastStatus.DONE, now=now)
        await session.flush()
        return None
    return _task(broadcast, run, campaign, sender, left)


async def _copies(session: AsyncSession, broadcast_id: int) -> Sequence[Copy]:
    rows = await session.scalars(sa.select(Copy).where(Copy.broadcast_id == broadcast_id).order_by(Copy.member_id))
    return rows.all()


def _task(broadcast: Broadcast, run: Run, campaign: Campaign, sender: str, customers: tuple[str, ...] = ()) -> Task:
    said = definition.read(run.definition).message(broadcast.tier, broadcast.variant)
    message = messages.for_all(said, now=broadcast.waiting_since)
    return Task(broadcast.id, sender, broadcast.msgid, message, broadcast.waiting_since, customers, campaign.name)


async def _find(
    session: AsyncSession, broadcast_id: int, *, locks: bool = False
) -> tuple[Broadcast, Run, Campaign, str] | None:
    query = (
        sa.select(Broadcast, Run, Campaign, Staff.userid)
        .join(Run, Run.id == Broadcast.run_id)
        .join(Campaign, Campaign.id == Run.campaign_id)
        .join(Staff, Staff.id == Broadcast.staff_id)
        .where(Broadcast.id == broadcast_id)
        .execution_options(populate_existing=True)
    )
    row = (await session.execute(query.with_for_update(of=Broadcast) if locks else query)).first()
    return (row[0], row[1], row[2], row[3]) if row is not None else None


def asked(task: Task, msgid: str, unreachable: Collection[str], *, now: datetime) -> list[sa.Update]:
    """Statements for what is so once the platform has the task: staff were asked, some customers will not get it."""
    of_mine = sa.select(Copy.member_id).where(Copy.broadcast_id == task.id)
    run_id = sa.select(Broadcast.run_id).where(Broadcast.id == task.id).scalar_subquery()
    mine = (Delivery.run_id == run_id, Delivery.status == DeliveryStatus.QUEUED)
    lost = (Delivery.member_id.in_(of_mine.where(Copy.external_userid.in_(unreachable))), *mine)
    return [  # the broadcast first: whoever looks at it locks it first as well
        sa.update(Broadcast)
        .where(Broadcast.id == task.id, Broadcast.status == BroadcastStatus.WAITING)
        .values(status=BroadcastStatus.ASKED, msgid=msgid, asked_at=now, poll_at=now + POLL_FIRST),
        sa.update(Delivery).where(*lost).values(status=DeliveryStatus.FAILED, reason=deliveries.UNREACHABLE),
        sa.update(Delivery).where(Delivery.member_id.in_(of_mine), *mine).values(status=DeliveryStatus.ASKED),
        sa.update(Run).where(Run.id == run_id).values(failed=Run.failed + len(unreachable)),
    ]


# Followed


async def claim_due(session: AsyncSession, *, now: datetime) -> list[int]:
    """Broadcasts that are looked at now, by us alone for a minute."""
    return await staff_tasks.claim_due(session, Broadcast, now=now)


async def look(session: AsyncSession, broadcast_id: int, *, now: datetime) -> tuple[Look, Task] | None:
    """What is to be done about a broadcast at the platform. What our own outbox knows is settled here."""
    row = await _find(session, broadcast_id, locks=True)
    if row is None or row[0].status not in OPEN_ONES:
        return None
    broadcast, run, campaign, sender = row
    told = definition.read(run.definition)
    is_over = run.status is RunStatus.CANCELLED or await staff_tasks.is_stopped(session, broadcast)
    if broadcast.status is BroadcastStatus.WAITING:
        what = await _look_at_outbox(session, broadcast, now=now)
    elif is_over or (broadcast.asked_at or now) + told.confirm_within <= now:
        what = Look.TAKE_BACK
    elif staff_tasks.reminds(broadcast, told.remind_after, now):
        what = Look.REMIND
    else:
        what = Look.ASK
    copies = tuple(one.external_userid for one in await _copies(session, broadcast_id)) if what is Look.FIND else ()
    await session.flush()
    return what, _task(broadcast, run, campaign, sender, copies)


async def _look_at_outbox(session: AsyncSession, broadcast: Broadcast, *, now: datetime) -> Look:
    """What became of the message that asks for it. Taken back, or refused in the last moment: all are planned again."""
    status, error = await staff_tasks.outbox_says(session, broadcast)
    if status is Status.UNKNOWN:
        return Look.FIND
    if status is Status.DEAD:
        await lose(session, broadcast.id, error or deliveries.NOT_SENT, now=now)
    elif status in (Status.CANCELLED, Status.SENT):
        await plan_again(session, broadcast.id, error or "taken back", now=now)
    return Look.NOTHING


async def plan_again(session: AsyncSession, broadcast_id: int, why: str, *, now: datetime) -> None:
    """It never became a task, and its customers may still get another; those of a cancelled run do not."""
    broadcast = await session.get_one(Broadcast, broadcast_id)
    left = await _still_open(session, broadcast.run_id, broadcast_id)
    await guards.release(session, gate_ref(broadcast_id), code="gate.not_sent")
    await _give_back(session, broadcast.run_id, left, due=dict.fromkeys(left, now))
    broadcast.error = why[:500]
    end(broadcast, BroadcastStatus.FAILED, now=now)
    await session.flush()


async def never_was(session: AsyncSession, broadcast_id: int, *, now: datetime) -> bool:
    """The platform does not list a task of unknown outcome: it never was. False: too early to say so."""
    row = await _find(session, broadcast_id, locks=True)
    if row is None or row[0].status is not BroadcastStatus.WAITING:
        return False
    if not await staff_tasks.was_long_ago(session, row[0], now=now):
        return False
    await plan_again(session, broadcast_id, "not at the platform", now=now)
    return True


async def is_known(session: AsyncSession, msgid: str) -> bool:
    return await session.scalar(sa.select(Broadcast.id).where(Broadcast.msgid == msgid)) is not None


async def reminded(session: AsyncSession, broadcast_id: int) -> None:
    count = sa.update(Broadcast).where(Broadcast.id == broadcast_id).values(reminders=Broadcast.reminders + 1)
    await session.execute(count, execution_options=_quiet)


async def take_results(
    session: AsyncSession,
    broadcast_id: int,
    results: Sequence[Result],
    *,
    confirmed_at: datetime | None,
    is_over: bool = False,
    now: datetime,
) -> None:
    """What the platform says by now. is_over: it was taken back there, so nothing more will come."""
    row = await _find(session, broadcast_id, locks=True)
    if row is None or row[0].status not in OPEN_ONES:
        return
    broadcast, run = row[0], row[1]
    member_of = {one.external_userid: one.member_id for one in await _copies(session, broadcast_id)}
    said = {member_of[one.recipient]: one for one in results if one.recipient in member_of}
    sent_at = {one: said[one].sent_at or confirmed_at or now for one in said if said[one].copied is Copied.SENT}
    await deliveries.sent(session, run.id, sent_at)
    capped = [one for one in said if said[one].copied is Copied.LIMIT_REACHED]
    lost = [one for one in said if said[one].copied is Copied.NO_LONGER_CONTACT]
    await deliveries.failed(session, run.id, capped, deliveries.LIMIT_REACHED)
    await deliveries.failed(session, run.id, lost, deliveries.NO_LONGER_CONTACT)
    left = await _still_open(session, run.id, broadcast_id)
    if is_over:
        why = await staff_tasks.why_over(session, broadcast, is_cancelled=run.status is RunStatus.CANCELLED)
        await deliveries.failed(session, run.id, left, why)
        lost, left = [*lost, *left], []
    await _tell_gate(session, gate_ref(broadcast_id), sent_at, lost, capped, now=now)
    if confirmed_at is not None and broadcast.confirmed_at is None:
        broadcast.confirmed_at, broadcast.status = confirmed_at, BroadcastStatus.CONFIRMED
    if is_over or not left:
        end(broadcast, BroadcastStatus.DONE, now=now)
    else:
        told = definition.read(run.definition)
        ends_at = (broadcast.asked_at or now) + told.confirm_within
        broadcast.poll_at = staff_tasks.next_look(broadcast, told.remind_after, ends_at, now)
    await session.flush()


async def _tell_gate(
    session: AsyncSession,
    ref: str,
    sent_at: Mapping[int, datetime],
    lost: Collection[int],
    capped: Collection[int],
    *,
    now: datetime,
) -> None:
    for at in sorted(set(sent_at.values())):
        for statement in guards.sent(ref, at=at, member_ids=[one for one in sent_at if sent_at[one] == at]):
            await session.execute(statement)
    if lost:
        await guards.release(session, ref, code="gate.not_sent", member_ids=lost)
    if capped:
        await guards.platform_refused(session, ref, capped, now=now)


async def _still_open(session: AsyncSession, run_id: int, broadcast_id: int) -> list[int]:
    rows = await session.scalars(
        sa.select(Copy.member_id)
        .join(Delivery, sa.and_(Delivery.run_id == run_id, Delivery.member_id == Copy.member_id))
        .where(Copy.broadcast_id == broadcast_id)
        .where(Delivery.status.in_((DeliveryStatus.QUEUED, DeliveryStatus.ASKED)))
    )
    return list(rows)


async def lose(session: AsyncSession, broadcast_id: int, reason: str, *, now: datetime) -> None:
    """It never became a task: none of its customers gets it."""
    broadcast = await session.get_one(Broadcast, broadcast_id)
    left = await _still_open(session, broadcast.run_id, broadcast_id)
    await guards.release(session, gate_ref(broadcast_id), code="gate.not_sent")
    await deliveries.failed(session, broadcast.run_id, left, reason)
    broadcast.error = reason[:500]
    end(broadcast, BroadcastStatus.FAILED, now=now)
    await session.flush()


async def take_back_waiting(session: AsyncSession, run_id: int, *, now: datetime) -> None:
    """Tasks that have not left yet shall not, for now; see _look_at_outbox for how they go on."""
    keys = sa.select(Broadcast.outbox_key).where(
        Broadcast.run_id == run_id, Broadcast.status == BroadcastStatus.WAITING
    )
    await outbox.cancel(session, OutboxRow.dedupe_key.in_(keys), reason="taken back", now=now)


async def look_soon(session: AsyncSession, run_id: int, *, now: datetime) -> None:
    """Have the open broadcasts of a run looked at now."""
    mine = sa.update(Broadcast).where(Broadcast.run_id == run_id, Broadcast.poll_at.is_not(None))
    await session.execute(mine.values(poll_at=now), execution_options=_quiet)
