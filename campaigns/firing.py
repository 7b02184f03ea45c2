"""When campaigns fire: by time, each occurrence once and never stale; or because something happened to a member."""

from collections.abc import Collection, Sequence
from datetime import date, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns import audience, definition, deliveries, engine, enrolments, experiments
from campaigns.definition import CampaignWrong, Definition
from campaigns.engine import LATE, OPEN_RUNS, RunAsks
from campaigns.models.campaign import Batch, Campaign, CampaignStatus, Delivery, DeliveryStatus, Kind, Run, RunStatus
from crm.base import events
from crm.base.clock import day_start, local_day
from crm.base.db import insert
from crm.base.events import Recorded

CURSOR = "triggers"
EVENTS_TOGETHER = 500
LOOK_AGAIN = timedelta(minutes=1)


# By time


async def fire_due(session: AsyncSession, *, now: datetime) -> int:
    """Begin the run of each campaign whose time has come; returns how many campaigns that were.

    One that cannot be meant any more, as when its segment got another name, is paused: the others go on.
    """
    rows = await session.scalars(
        sa.select(Campaign)
        .where(Campaign.next_fire_at <= now)
        .where(Campaign.status.in_((CampaignStatus.SCHEDULED, CampaignStatus.RUNNING)))
        .order_by(Campaign.next_fire_at, Campaign.id)
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    )
    due = rows.all()
    for campaign in due:
        try:
            told = definition.read(campaign.definition)
            if told.listens:
                await _open_or_end(session, campaign, told, now=now)
            else:
                await _fire(session, campaign, told, now=now)
        except CampaignWrong as wrong:
            await engine.pause(session, campaign.id, because=str(wrong), by="", now=now)
    await session.flush()
    for campaign in due:
        await engine.finish_if_over(session, campaign.id, now=now)
    return len(due)


async def _fire(session: AsyncSession, campaign: Campaign, told: Definition, *, now: datetime) -> None:
    """The newest occurrence that has come; of several missed ones the earlier are left out, one is enough."""
    at = campaign.next_fire_at or now
    while (later := definition.next_fire(told, after=at)) is not None and later <= now:
        at = later
    is_late = now - at > told.grace
    status = (RunStatus.ASKS if told.late == "ask" else RunStatus.CANCELLED) if is_late else RunStatus.PLANNING
    run_id = await begin(
        session, campaign, told, occurrence=at.isoformat(), due_at=at, status=status, because=LATE if is_late else "",
        last_id=await audience.newest_member(session), now=now,
    )  # fmt: skip
    if run_id is not None and status is RunStatus.ASKS:
        await events.append(session, RunAsks(campaign_id=campaign.id, run_id=run_id, because=LATE), now=now)
    campaign.next_fire_at, campaign.status, campaign.changed_at = later, CampaignStatus.RUNNING, now


async def begin(
    session: AsyncSession,
    campaign: Campaign,
    told: Definition,
    *,
    occurrence: str,
    due_at: datetime,
    status: RunStatus,
    because: str = "",
    last_id: int,
    now: datetime,
) -> int | None:
    """A run of this occurrence; None when there is one already. It keeps the definition, segment and all."""
    frozen = definition.write(await audience.look_up(session, told))
    row = insert(session, Run).values(
        campaign_id=campaign.id, occurrence=occurrence, status=status, definition=frozen, due_at=due_at,
        ticked_at=now, asks_because=because, cursor=0, last_id=last_id, sent=0, failed=0,
        finished_at=now if status is RunStatus.CANCELLED else None,
    )  # fmt: skip
    run_id: int | None = await session.scalar(row.on_conflict_do_nothing().returning(Run.id))
    return run_id


async def _open_or_end(session: AsyncSession, campaign: Campaign, told: Definition, *, now: datetime) -> None:
    """A triggered campaign listens from its start to its end, and is over when its last run is."""
    campaign.status, campaign.changed_at = CampaignStatus.RUNNING, now
    if told.ends is None or now < told.ends:
        campaign.next_fire_at = told.ends
        return
    under_way = sa.select(Run.id).where(Run.campaign_id == campaign.id, Run.status.in_(OPEN_RUNS)).limit(1)
    if await session.scalar(under_way) is None and not await enrolments.has_active(session, campaign.id):
        campaign.status, campaign.next_fire_at = CampaignStatus.FINISHED, None
    else:
        campaign.next_fire_at = now + LOOK_AGAIN


# Because something happened


async def listen(session: AsyncSession, *, now: datetime) -> int:
    """Read the next events for the triggered campaigns that run; returns how many were read.

    What is older than a campaign's grace triggers nothing: a first sync and a restored copy tell of long ago.
    """
    found = await events.take(session, CURSOR, limit=EVENTS_TOGETHER)
    if not found:
        return 0
    rows = await session.scalars(
        sa.select(Campaign).where(Campaign.kind == Kind.TRIGGERED, Campaign.status == CampaignStatus.RUNNING)
    )
    for campaign in rows.all():
        try:
            told = definition.read(campaign.definition)
            if told.ends is None or now < told.ends:
                await trigger(session, campaign, told, _about(told, found, now=now), now=now)
        except CampaignWrong as wrong:
            await engine.pause(session, campaign.id, because=str(wrong), by="", now=now)
    return len(found)


def _about(told: Definition, found: Sequence[Recorded], *, now: datetime) -> list[int]:
    """Members to whom what this campaign waits for has just happened."""
    wanted = told.on.happening if told.on is not None else None
    if wanted is None:
        return []
    return [
        int(one.body["member_id"])
        for one in found
        if one.body.get("member_id") is not None
        and wanted.fits(one.name, one.body)
        and now - happened_at(one) <= told.grace
    ]


def happened_at(one: Recorded) -> datetime:
    """A contact learned of in a first sync was added long before its event; a day we slept through is over."""
    if (came_on := one.body.get("came_on")) is not None:
        return min(one.at, day_start(date.fromisoformat(came_on) + timedelta(days=1)))
    said = one.body.get("added_at") or one.body.get("joined_at")
    return min(one.at, datetime.fromisoformat(said)) if isinstance(said, str) else one.at


async def trigger(
    session: AsyncSession, campaign: Campaign, told: Definition, member_ids: Collection[int], *, now: datetime
) -> int:
    """A delivery for each of these members in the campaign's run of today, once a day; returns how many are new."""
    if not member_ids or told.on is None:
        return 0
    day = local_day(now)
    at = {"occurrence": day.isoformat(), "due_at": day_start(day)}
    await begin(session, campaign, told, **at, status=RunStatus.SENDING, last_id=0, now=now)  # type: ignore[arg-type]
    run_id, status = (
        await session.execute(
            sa.select(Run.id, Run.status).where(Run.campaign_id == campaign.id, Run.occurrence == day.isoformat())
        )
    ).one()
    is_over = status not in OPEN_RUNS  # somebody said that today's shall not go out: nor shall who comes after that
    shares = [one.share for one in told.messages]
    rows = [
        {
            "run_id": run_id,
            "member_id": one,
            "status": DeliveryStatus.HOLDOUT
            if experiments.in_holdout(campaign.id, told.holdout_percent, one)
            else (DeliveryStatus.SKIPPED if is_over else DeliveryStatus.PLANNED),
            "reason": deliveries.CANCELLED if is_over else None,
            "variant": experiments.variant_of(campaign.id, shares, one),
        }
        for one in sorted(set(member_ids))
    ]
    made = insert(session, Delivery).values(rows).on_conflict_do_nothing().returning(Delivery.member_id)
    new = sorted(await session.scalars(made))
    due_at = now + told.on.delay if not is_over else None
    session.add_all(Batch(run_id=run_id, after_id=one - 1, upto_id=one, due_at=due_at) for one in new)
    await session.flush()
    return len(new)
