"""The work of running campaigns, in small transactions: plan one window, put one batch on its way, settle one run.

Each takes a lock on its own row and skips what another worker has; killed, it leaves what the last commit said. A
pause or a cancel waits for the transaction at hand, and the next one finds it.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns import audience, broadcasts, definition, deliveries, engine, enrolments, group_posts, group_runs
from campaigns.definition import CampaignWrong, Definition
from campaigns.draining import Kf, drain_batch
from campaigns.guard_rules import Gate
from campaigns.models.campaign import (
    Batch,
    Broadcast,
    Campaign,
    CampaignStatus,
    Kind,
    Run,
    RunStatus,
)
from crm.base.clock import local_day
from crm.base.db import plan_afresh

TOUCH_EVERY = timedelta(minutes=1)
LEAST_GRACE = timedelta(minutes=10)  # no shorter silence counts as a sleep
ERRORS_JUDGED_FROM = 20  # copies that came to an end
STALE = "stale"


async def plan(session: AsyncSession, *, now: datetime) -> bool:
    """Plan the next windows of a run that is being planned; False when there is none."""
    row = (
        await session.execute(
            sa.select(Run, Campaign)
            .join(Campaign, Campaign.id == Run.campaign_id)
            .where(Run.status == RunStatus.PLANNING, Campaign.status == CampaignStatus.RUNNING)
            .order_by(Run.id)
            .limit(1)
            .with_for_update(of=Run, skip_locked=True)
            .execution_options(populate_existing=True)
        )
    ).first()
    if row is None or not await _still_runs(session, row[1].id):
        return False
    run, campaign = row
    told = await _read(session, run, now=now)
    if told is None:
        return True
    if told.groups is not None:
        await group_runs.plan(session, run, campaign, told, now=now)
        run.cursor, run.ticked_at, run.status = run.last_id, now, RunStatus.SENDING
        await session.flush()
        return True
    await plan_afresh(session)
    upto = min(run.cursor + audience.WINDOW * audience.PLANNED_TOGETHER, run.last_id)
    window = {"after_id": run.cursor, "upto_id": upto}
    if told.kind is Kind.STEPS:
        await enrolments.enter_window(session, told, campaign_id=campaign.id, **window, due_at=run.due_at, now=now)
    elif await audience.plan_window(session, told, campaign_id=campaign.id, run_id=run.id, **window, now=run.due_at):
        starts = range(run.cursor, upto, audience.WINDOW)
        session.add_all(
            Batch(run_id=run.id, after_id=one, upto_id=min(one + audience.WINDOW, upto), due_at=now) for one in starts
        )
    run.cursor, run.ticked_at = upto, now
    if upto >= run.last_id:
        run.status = RunStatus.SENDING
    await session.flush()
    return True


async def drain(session: AsyncSession, gate: Gate, kf: Kf, *, now: datetime) -> bool:
    """Put one batch that is due on its way; False when there is none."""
    row = (
        await session.execute(
            sa.select(Batch, Run, Campaign)
            .join(Run, Run.id == Batch.run_id)
            .join(Campaign, Campaign.id == Run.campaign_id)
            .where(Batch.due_at <= now, Campaign.status == CampaignStatus.RUNNING)
            .where(Run.status.in_((RunStatus.PLANNING, RunStatus.SENDING)))
            .order_by(Batch.due_at, Batch.id)
            .limit(1)
            .with_for_update(of=Batch, skip_locked=True)
            .execution_options(populate_existing=True)
        )
    ).first()
    if row is None or not await _still_runs(session, row[2].id):
        return False
    if await _read(session, row[1], now=now) is None:
        return True
    await plan_afresh(session)
    await drain_batch(session, row[0], row[1], row[2], gate=gate, kf=kf, now=now)
    await session.flush()
    return True


async def _read(session: AsyncSession, run: Run, *, now: datetime) -> Definition | None:
    """What a run was told; None, and its campaign stands still, when that cannot be meant any more."""
    try:
        return definition.read(run.definition)
    except CampaignWrong as wrong:
        await engine.pause(session, run.campaign_id, because=str(wrong), by="", now=now)
        return None


async def _still_runs(session: AsyncSession, campaign_id: int) -> bool:
    """Whether nobody paused it meanwhile; from here on who wants to has to wait for us."""
    status = await session.scalar(
        sa.select(Campaign.status).where(Campaign.id == campaign_id).with_for_update(read=True)
    )
    return status is CampaignStatus.RUNNING


async def sending(session: AsyncSession) -> Sequence[int]:
    """Runs whose members are all planned and that are not over."""
    rows = await session.scalars(
        sa.select(Run.id)
        .join(Campaign, Campaign.id == Run.campaign_id)
        .where(Run.status == RunStatus.SENDING, Campaign.status == CampaignStatus.RUNNING)
        .order_by(Run.id)
    )
    return rows.all()


async def settle(session: AsyncSession, run_id: int, gate: Gate, *, now: datetime) -> bool:
    """One step of a run whose members are all planned: pause it, put a broadcast together, or finish it.

    False when it has to wait for somebody.
    """
    run = await session.scalar(
        sa.select(Run)
        .where(Run.id == run_id, Run.status == RunStatus.SENDING)
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    )
    if run is None or not await _still_runs(session, run.campaign_id):
        return False
    await plan_afresh(session)
    told = await _read(session, run, now=now)
    if told is None:
        return False
    if told.groups is not None:
        if not await group_runs.is_over(session, run_id):
            return False
        return await _finish(session, run, await group_posts.figures(session, group_runs.ref(run_id)), now=now)
    ended = run.sent + run.failed
    if ended >= ERRORS_JUDGED_FROM and run.failed * 100 > told.pause_at_failed_percent * ended:
        run.sent = run.failed = 0  # who resumes it has seen these
        await session.flush()
        await engine.pause(session, run.campaign_id, because=engine.ERRORS, by="", now=now)
        return False
    if await _any(session, Batch, Batch.run_id == run_id, Batch.due_at <= now):
        return False
    if await broadcasts.assemble(session, run, told, gate, now=now):
        return True
    waits = (
        await _any(session, Batch, Batch.run_id == run_id, Batch.due_at.is_not(None))
        or await _any(session, Broadcast, Broadcast.run_id == run_id, Broadcast.poll_at.is_not(None))
        or (told.listens and local_day(now) <= local_day(run.due_at))
    )
    if waits:
        return False
    return await _finish(session, run, await deliveries.figures(session, run_id), now=now)


async def _finish(session: AsyncSession, run: Run, figures: dict[str, Any], *, now: datetime) -> bool:
    run.figures = figures
    run.status, run.finished_at = RunStatus.FINISHED, now
    await session.flush()
    await engine.finish_if_over(session, run.campaign_id, now=now)
    return True


async def _any(session: AsyncSession, table: type[Batch] | type[Broadcast], *where: sa.ColumnElement[bool]) -> bool:
    return await session.scalar(sa.select(sa.literal(1)).select_from(table).where(*where).limit(1)) is not None


async def watch(session: AsyncSession, *, now: datetime) -> list[int]:
    """Note that running runs are awake; those that slept past their grace ask before they go on. Returns these.

    A copy of yesterday's database, or a machine that was off, wakes up with old runs: nothing of them leaves by itself.
    """
    rows = await session.execute(
        sa.select(Run)
        .join(Campaign, Campaign.id == Run.campaign_id)
        .where(Run.status.in_((RunStatus.PLANNING, RunStatus.SENDING)), Campaign.status == CampaignStatus.RUNNING)
        .where(Run.ticked_at < now - TOUCH_EVERY)
        .with_for_update(of=Run, skip_locked=True)
        .execution_options(populate_existing=True)
    )
    asks: list[int] = []
    for run in rows.scalars():
        told = await _read(session, run, now=now)
        if told is None:
            continue
        grace = max(told.grace, LEAST_GRACE)
        if now - run.ticked_at > grace:
            run.status, run.asks_because = RunStatus.ASKS, STALE
            asks.append(run.id)
        else:
            run.ticked_at = now
    await session.flush()
    for run_id in asks:
        await broadcasts.take_back_waiting(session, run_id, now=now)
    return asks
