"""Leaving a sequence before its end: the goal, a refusal, a merge; and stopping what has not left yet."""

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns import broadcasts, deliveries, enrolments, guards, step_times
from campaigns.draining import kf_ref
from campaigns.enrolments import ACTIVE, stand
from campaigns.guard_rules import Channel
from campaigns.models.campaign import OPEN, Batch, Copy, Delivery, DeliveryStatus, Run
from campaigns.models.sequence import Enrolment, EnrolmentStatus, EnrolmentStep, Phase
from crm.base import outbox
from crm.base.outbox import OutboxRow

MERGED = "merged"
_quiet = {"synchronize_session": False}


async def leave(session: AsyncSession, people: Sequence[Enrolment], because: str, *, now: datetime) -> int:
    """These are in it no longer, and what has not left yet of a step under way shall not; returns how many left.

    What staff already have as a task stays theirs: nobody can be taken out of one.
    """
    await session.flush()
    moved = sa.update(Enrolment).where(Enrolment.id.in_([one.id for one in people]), Enrolment.status == ACTIVE)
    ended = {"status": EnrolmentStatus.LEFT, "due_at": None, "ended_at": now, "because": because[:60]}
    out = set(await session.scalars(moved.values(**ended).returning(Enrolment.id), execution_options=_quiet))
    for one in people:
        await session.refresh(one)
        if one.id in out and one.phase is Phase.UNDER_WAY:
            had = await session.get_one(EnrolmentStep, (one.id, one.step))
            await take_back(session, had.run_id, had.member_id, because, now=now)
    return len(out)


async def take_back(session: AsyncSession, run_id: int | None, member_id: int, reason: str, *, now: datetime) -> bool:
    """Stop one member's delivery, wherever it is before it leaves us; returns whether it has come to its end.

    Who drains its batch or puts its broadcast together is waited for. What lies in the outbox loses its pass at the
    gate, so the sender's last look refuses it; the next look at the batch finds them gone and says why.
    """
    mine = (Batch.run_id == run_id, Batch.after_id < member_id, Batch.upto_id >= member_id)
    batch = await session.scalar(sa.select(Batch).where(*mine).with_for_update())
    await session.execute(sa.select(Run.id).where(Run.id == run_id).with_for_update())
    found = await session.scalar(
        sa.select(Delivery)
        .where(Delivery.run_id == run_id, Delivery.member_id == member_id)
        .execution_options(populate_existing=True)
    )
    if run_id is None or found is None or batch is None or found.status not in OPEN:
        return True
    await session.refresh(batch)
    if found.status is DeliveryStatus.QUEUED and found.channel is Channel.KF:
        refs = [kf_ref(run_id, member_id, number) for number in range(batch.letters)]
        await outbox.cancel(session, OutboxRow.gate_ref.in_(refs), reason="taken back", now=now)
        for ref in refs:
            await guards.release(session, ref, code="gate.taken_back", member_ids=[member_id])
        batch.due_at = now
        await session.flush()
        return False
    if found.status is DeliveryStatus.ASKED:
        return False
    if found.status is DeliveryStatus.QUEUED:
        copy = await session.get(Copy, (run_id, member_id), populate_existing=True)
        if copy is not None and copy.broadcast_id is not None:
            ref = broadcasts.gate_ref(copy.broadcast_id)
            await guards.release(session, ref, code="gate.taken_back", member_ids=[member_id])
            return False
        if copy is not None:
            await session.delete(copy)
            await session.flush()
    await deliveries.move(session, run_id, [member_id], DeliveryStatus.SKIPPED, reason=reason[:60])
    return True


async def follow_merge(session: AsyncSession, kept_id: int, absorbed_id: int, *, now: datetime) -> None:
    """One person is on one way: where both were, on the one that is further, and gets no step again that either had."""
    ever = sa.select(Enrolment.campaign_id).where(Enrolment.member_id == kept_id)
    known = set(await session.scalars(ever))
    own = {one.campaign_id: one for one in await enrolments.of_member(session, [kept_id])}
    for one in await enrolments.of_member(session, [absorbed_id]):
        mine = own.get(one.campaign_id)
        if mine is not None:
            await _go_on(session, mine, one, now=now)
        if one.campaign_id in known:
            await leave(session, [one], MERGED, now=now)
            continue
        one.member_id = kept_id
        if one.phase is Phase.UNDER_WAY:
            await _again(session, one, now=now)
    await session.flush()


async def _go_on(session: AsyncSession, mine: Enrolment, theirs: Enrolment, *, now: datetime) -> None:
    """From where the other stands, if that is further; a step that is on its way to the other counts as had."""
    reached = theirs.step + (theirs.phase is Phase.UNDER_WAY)
    if reached <= mine.step:
        return
    told = await enrolments.told_in(session, mine.campaign_id, mine.version)
    if mine.phase is Phase.UNDER_WAY:
        await take_back(session, mine.run_id, mine.member_id, MERGED, now=now)
    if reached >= len(told.steps):
        mine.status, mine.due_at, mine.ended_at = EnrolmentStatus.FINISHED, None, now
        return
    mine.step, mine.run_id, mine.day_zero = reached, None, theirs.day_zero
    stand(mine, step_times.begins(told, reached, day_zero=mine.day_zero, ended_at=now))


async def _again(session: AsyncSession, one: Enrolment, *, now: datetime) -> None:
    """A delivery to an id that is nobody's any more and has not left: the step comes again under the new one."""
    had = await session.get_one(EnrolmentStep, (one.id, one.step))
    await take_back(session, had.run_id, had.member_id, MERGED, now=now)
    status = await session.scalar(
        sa.select(Delivery.status).where(Delivery.run_id == had.run_id, Delivery.member_id == had.member_id)
    )
    if status is DeliveryStatus.SKIPPED:
        await session.delete(had)
        one.phase, one.run_id, one.due_at = Phase.DUE, None, now
