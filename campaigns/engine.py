"""The state machine of a campaign, and when it fires.

draft -> in_review -> scheduled -> running <-> paused -> finished | cancelled. Each move names the states it may leave
in its WHERE clause. A run is one occurrence and a unique row; what is late by more than its grace asks first.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns import audience, broadcasts, definition, deliveries, enrolments, gifts, group_posts, group_runs, messages
from campaigns.definition import CampaignWrong, Definition
from campaigns.draining import take_back_letters
from campaigns.models.campaign import (
    Batch,
    Campaign,
    CampaignStatus,
    Kind,
    Run,
    RunStatus,
)
from campaigns.models.group_post import PostStatus
from campaigns.words import Words
from campaigns.words import read as read_words
from crm.base import events
from crm.base.db import insert
from crm.base.errors import NotFound, Refused

S = CampaignStatus
LATE, ERRORS = "late", "too many failures"
OPEN_RUNS = (RunStatus.ASKS, RunStatus.PLANNING, RunStatus.SENDING)
ALIVE = (S.SCHEDULED, S.RUNNING, S.PAUSED)
_quiet = {"synchronize_session": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignPaused:
    """A campaign stands still. by: userid; empty when it paused itself."""

    campaign_id: int
    by: str
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunAsks:
    """A run is late and will not go on before somebody says so."""

    campaign_id: int
    run_id: int
    because: str


@dataclass(frozen=True, slots=True)
class Review:
    """From which size on a second person looks at a campaign."""

    above_members: int = 2_000
    above_fen: int = 500_000  # members × what one delivery gives away
    words: Words = field(default_factory=read_words)  # that no message should carry


@dataclass(eq=False)
class CampaignNotFound(NotFound):
    """No campaign has this name or id."""

    code = "campaign.not_found"
    campaign: str | int


@dataclass(eq=False)
class RunNotFound(NotFound):
    """No run with this id waits for an answer."""

    code = "campaign.run_not_found"
    run_id: int


@dataclass(eq=False)
class WrongStatus(Refused):
    """It cannot do this where it stands."""

    code = "campaign.wrong_status"
    name: str
    stands: CampaignStatus


@dataclass(eq=False)
class NameTaken(Refused):
    """Another campaign has this name."""

    code = "campaign.name_taken"
    name: str


@dataclass(eq=False)
class SecondPersonNeeded(Refused):
    """Who made it cannot be who approves it."""

    code = "campaign.second_person"
    name: str
    by: str


@dataclass(eq=False)
class NobodySelected(Refused):
    """The segment selects nobody now, so firing it once would do nothing."""

    code = "campaign.nobody"
    name: str


# Reads


async def get(session: AsyncSession, campaign: int | str) -> Campaign:
    """By id or name. Raises CampaignNotFound."""
    where = Campaign.id == campaign if isinstance(campaign, int) else Campaign.name == campaign
    found: Campaign | None = await session.scalar(
        sa.select(Campaign).where(where).execution_options(populate_existing=True)
    )
    if found is None:
        raise CampaignNotFound(campaign)
    return found


async def runs_of(session: AsyncSession, campaign_id: int, *, limit: int = 20) -> Sequence[Run]:
    """The newest runs, newest first."""
    mine = sa.select(Run).where(Run.campaign_id == campaign_id).order_by(Run.due_at.desc(), Run.id.desc())
    return (await session.scalars(mine.limit(limit))).all()


async def everything(session: AsyncSession) -> Sequence[Campaign]:
    """All campaigns, those that change or fire last first."""
    rows = sa.select(Campaign).order_by(Campaign.changed_at.desc(), Campaign.id.desc())
    return (await session.scalars(rows)).all()


@dataclass(frozen=True, slots=True)
class Coming:
    at: datetime
    campaign_id: int
    name: str
    status: CampaignStatus


async def calendar(session: AsyncSession, *, since: datetime, until: datetime, most: int = 500) -> list[Coming]:
    """What fires by time from `since` to before `until`, in order; paused ones too, as they would."""
    rows = await session.scalars(
        sa.select(Campaign).where(Campaign.status.in_(ALIVE), Campaign.next_fire_at.is_not(None))
    )
    coming: list[Coming] = []
    for one in rows:
        try:
            told, at = definition.read(one.definition), one.next_fire_at
        except CampaignWrong:  # it will be paused when it is due; the others fire all the same
            continue
        while not told.listens and at is not None and at < until and len(coming) < most:
            if at >= since:
                coming.append(Coming(at, one.id, one.name, one.status))
            at = definition.next_fire(told, after=at)
    return sorted(coming, key=lambda one: (one.at, one.campaign_id))


async def still_run(session: AsyncSession, campaign_ids: set[int]) -> set[int]:
    """Those that nobody paused meanwhile; from here on who wants to has to wait for us."""
    rows = await session.execute(
        sa.select(Campaign.id, Campaign.status)
        .where(Campaign.id.in_(campaign_ids))
        .order_by(Campaign.id)
        .with_for_update(read=True)
    )
    return {row.id for row in rows if row.status is S.RUNNING}


# Verbs: before it runs


async def create(session: AsyncSession, name: str, told: Definition, *, by: str, now: datetime) -> Campaign:
    """A draft. Raises NameTaken."""
    row = insert(session, Campaign).values(
        name=name, kind=told.kind, status=S.DRAFT, definition=definition.write(told), version=1, created_by=by,
        reviewed_by="", review_because="", paused_because="", created_at=now, changed_at=now,
    )  # fmt: skip
    made: Campaign | None = await session.scalar(row.on_conflict_do_nothing().returning(Campaign))
    if made is None:
        raise NameTaken(name)
    return made


async def change(session: AsyncSession, campaign_id: int, told: Definition, *, by: str, now: datetime) -> Campaign:
    """Another definition: it is a draft again, and of the next version. Runs that began keep theirs."""
    campaign = await get(session, campaign_id)
    may = (S.DRAFT, S.IN_REVIEW, S.SCHEDULED) if told.kind is Kind.ONE_OFF else (S.DRAFT, S.IN_REVIEW, *ALIVE)
    values = {"kind": told.kind, "definition": definition.write(told), "version": Campaign.version + 1}
    return await _move(
        session, campaign, may, S.DRAFT, now=now, created_by=by, reviewed_by="", next_fire_at=None, **values
    )


async def submit(session: AsyncSession, campaign_id: int, *, review: Review, now: datetime) -> Campaign:
    """Ready: scheduled, or in review when it is large. Raises CampaignWrong (schedule, texts), NobodySelected."""
    campaign = await get(session, campaign_id)
    told = definition.read(campaign.definition)
    wrong = [*definition.late_schedule(told, now=now), *messages.mistakes(told, review.words)]
    if wrong := [*wrong, *await gifts.check(session, told, now=now)]:
        raise CampaignWrong(wrong)
    size = await audience.size(session, told, now=now)
    if not size and told.kind is Kind.ONE_OFF:
        raise NobodySelected(campaign.name)
    because = _why_review(await gifts.worth_fen(session, told), size, review)
    if because:
        return await _move(session, campaign, (S.DRAFT,), S.IN_REVIEW, now=now, review_because=because)
    return await _schedule(session, campaign, (S.DRAFT,), told, now=now, reviewed_by="", review_because="")


def _why_review(worth_fen: int, size: int, review: Review) -> str:
    if size > review.above_members:
        return f"members: {size} > {review.above_members}"
    if size * worth_fen > review.above_fen:
        return f"fen: {size * worth_fen} > {review.above_fen}"
    return ""


async def approve(session: AsyncSession, campaign_id: int, *, by: str, now: datetime) -> Campaign:
    """A second person says yes. Raises SecondPersonNeeded."""
    campaign = await get(session, campaign_id)
    if campaign.status is S.IN_REVIEW and campaign.created_by == by:
        raise SecondPersonNeeded(campaign.name, by)
    told = definition.read(campaign.definition)
    if wrong := definition.late_schedule(told, now=now):
        raise CampaignWrong(wrong)
    return await _schedule(session, campaign, (S.IN_REVIEW,), told, now=now, reviewed_by=by)


async def reject(session: AsyncSession, campaign_id: int, *, by: str, now: datetime) -> Campaign:
    """A second person says no: a draft again."""
    return await _move(session, await get(session, campaign_id), (S.IN_REVIEW,), S.DRAFT, now=now, reviewed_by=by)


async def _schedule(
    session: AsyncSession, campaign: Campaign, may: Sequence[S], told: Definition, *, now: datetime, **values: Any
) -> Campaign:
    first = told.starts or now if told.listens else definition.next_fire(told, after=now, first=True)
    return await _move(session, campaign, may, S.SCHEDULED, now=now, next_fire_at=first, **values)


# Verbs: while it runs


async def pause(session: AsyncSession, campaign_id: int, *, because: str, by: str, now: datetime) -> Campaign:
    """Nothing more leaves. What staff already have as a task stays theirs; a cancel takes that back too."""
    campaign = await get(session, campaign_id)
    campaign = await _move(session, campaign, (S.RUNNING, S.SCHEDULED), S.PAUSED, now=now, paused_because=because)
    await _take_back(session, campaign, now=now)
    await events.append(session, CampaignPaused(campaign_id=campaign_id, by=by, because=because), now=now)
    return campaign


async def resume(session: AsyncSession, campaign_id: int, *, now: datetime) -> Campaign:
    """Go on where it stopped. What should have fired meanwhile is late, by the rule of its grace."""
    campaign = await get(session, campaign_id)
    has_begun = await session.scalar(sa.select(Run.id).where(Run.campaign_id == campaign_id).limit(1)) is not None
    listens = definition.read(campaign.definition).listens
    to = S.RUNNING if has_begun or listens else S.SCHEDULED
    campaign = await _move(session, campaign, (S.PAUSED,), to, now=now, paused_because="")
    awake = sa.update(Run).where(Run.campaign_id == campaign_id, Run.status.in_(OPEN_RUNS)).values(ticked_at=now)
    await session.execute(awake, execution_options=_quiet)
    for run_id in await _open_runs(session, campaign_id):
        await broadcasts.look_soon(session, run_id, now=now)
        await group_posts.go_on(session, group_runs.ref(run_id), now=now)
    return campaign


async def cancel(session: AsyncSession, campaign_id: int, *, now: datetime) -> Campaign:
    """For good: who has not got it will not, and tasks that staff have not confirmed are taken back."""
    campaign = await get(session, campaign_id)
    may = (S.DRAFT, S.IN_REVIEW, *ALIVE)
    campaign = await _move(session, campaign, may, S.CANCELLED, now=now, next_fire_at=None)
    await enrolments.cancel(session, campaign_id, now=now)
    for run_id in await _open_runs(session, campaign_id):
        await _cancel_run(session, run_id, now=now)
    return campaign


async def answer(session: AsyncSession, run_id: int, *, fires: bool, now: datetime) -> Run:
    """What a person says to a run that asks: go on, or leave it. Raises RunNotFound."""
    run = await session.scalar(
        sa.select(Run)
        .where(Run.id == run_id, Run.status == RunStatus.ASKS)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if run is None:
        raise RunNotFound(run_id)
    if not fires:
        await _cancel_run(session, run_id, now=now)
        await finish_if_over(session, run.campaign_id, now=now)
    else:
        is_planned = run.cursor >= run.last_id
        run.status, run.ticked_at, run.asks_because = RunStatus.SENDING if is_planned else RunStatus.PLANNING, now, ""
        await session.flush()
        await broadcasts.look_soon(session, run_id, now=now)
        await group_posts.go_on(session, group_runs.ref(run_id), now=now)
    await session.refresh(run)
    return run


async def _open_runs(session: AsyncSession, campaign_id: int) -> Sequence[int]:
    rows = await session.scalars(sa.select(Run.id).where(Run.campaign_id == campaign_id, Run.status.in_(OPEN_RUNS)))
    return rows.all()


async def _take_back(session: AsyncSession, campaign: Campaign, *, now: datetime) -> None:
    for run_id in await _open_runs(session, campaign.id):
        await broadcasts.take_back_waiting(session, run_id, now=now)
        await take_back_letters(session, run_id, now=now)
        await group_posts.stop(session, group_runs.ref(run_id), PostStatus.PAUSED, now=now)


async def _cancel_run(session: AsyncSession, run_id: int, *, now: datetime) -> None:
    await broadcasts.take_back_waiting(session, run_id, now=now)
    await take_back_letters(session, run_id, now=now)
    await group_posts.stop(session, group_runs.ref(run_id), PostStatus.CANCELLED, now=now)
    await deliveries.close(session, run_id, deliveries.CANCELLED)
    await session.execute(sa.update(Batch).where(Batch.run_id == run_id).values(due_at=None), execution_options=_quiet)
    await broadcasts.look_soon(session, run_id, now=now)
    ended = sa.update(Run).where(Run.id == run_id, Run.status.in_(OPEN_RUNS))
    await session.execute(ended.values(status=RunStatus.CANCELLED, finished_at=now), execution_options=_quiet)


async def finish_if_over(session: AsyncSession, campaign_id: int, *, now: datetime) -> None:
    """A campaign with nothing left to fire and no run under way is finished."""
    listens = definition.read((await get(session, campaign_id)).definition).listens
    if listens or await enrolments.has_active(session, campaign_id):
        return
    under_way = sa.exists().where(Run.campaign_id == campaign_id, Run.status.in_(OPEN_RUNS))
    over = sa.update(Campaign).where(
        Campaign.id == campaign_id, Campaign.status == S.RUNNING, Campaign.next_fire_at.is_(None), ~under_way
    )  # fmt: skip
    await session.execute(over.values(status=S.FINISHED, changed_at=now), execution_options=_quiet)


async def _move(
    session: AsyncSession, campaign: Campaign, may: Sequence[S], to: S, *, now: datetime, **values: Any
) -> Campaign:
    """The guard is the WHERE clause: of two who move it, one finds it where it was."""
    moved: Campaign | None = await session.scalar(
        sa.update(Campaign)
        .where(Campaign.id == campaign.id, Campaign.status.in_(may))
        .values(status=to, changed_at=now, **values)
        .returning(Campaign)
        .execution_options(populate_existing=True, **_quiet)
    )
    if moved is None:
        raise WrongStatus(campaign.name, (await get(session, campaign.id)).status)
    return moved
