"""Today in campaigns: what still fires, what waits for staff, what waits for a decision, what stands still and why."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns import brakes, engine
from campaigns.engine import Coming
from campaigns.models.campaign import Broadcast, BroadcastStatus, Campaign, CampaignStatus, Copy, Run, RunStatus
from campaigns.models.gate import SendingStop
from crm.base.clock import SHANGHAI, day_start, local_day
from crm.models.member import Staff


@dataclass(frozen=True, slots=True)
class Question:
    """A run that is late and does nothing before somebody says whether it still fires."""

    run_id: int
    campaign_id: int
    name: str
    due_at: datetime
    because: str


@dataclass(frozen=True, slots=True)
class Unconfirmed:
    """Tasks that one member of staff has and has not tapped."""

    name: str
    tasks: int
    customers: int
    since: datetime | None


@dataclass(frozen=True, slots=True)
class Today:
    stop: SendingStop | None
    coming: Sequence[Coming]
    questions: Sequence[Question]
    in_review: Sequence[Campaign]
    paused: Sequence[Campaign]
    unconfirmed: Sequence[Unconfirmed]

    @property
    def decisions(self) -> int:
        return len(self.questions) + len(self.in_review)


async def today(session: AsyncSession, *, now: datetime) -> Today:
    """To the end of the shop-local day."""
    until = day_start(local_day(now) + timedelta(days=1), SHANGHAI)
    asks = await session.execute(
        sa.select(Run.id, Run.campaign_id, Campaign.name, Run.due_at, Run.asks_because)
        .join(Campaign, Campaign.id == Run.campaign_id)
        .where(Run.status == RunStatus.ASKS, Run.finished_at.is_(None))
        .order_by(Run.due_at, Run.id)
    )
    return Today(
        stop=await brakes.standing(session),
        coming=[
            one
            for one in await engine.calendar(session, since=now, until=until)
            if one.status is not CampaignStatus.PAUSED
        ],
        questions=[Question(*row) for row in asks],
        in_review=await _standing(session, CampaignStatus.IN_REVIEW),
        paused=await _standing(session, CampaignStatus.PAUSED),
        unconfirmed=await _unconfirmed(session),
    )


async def _standing(session: AsyncSession, status: CampaignStatus) -> Sequence[Campaign]:
    rows = sa.select(Campaign).where(Campaign.status == status).order_by(Campaign.changed_at.desc(), Campaign.id)
    return (await session.scalars(rows.limit(50))).all()


async def _unconfirmed(session: AsyncSession) -> list[Unconfirmed]:
    """Who has waited longest first."""
    since = sa.func.min(Broadcast.asked_at)
    rows = await session.execute(
        sa.select(Staff.name, Staff.userid, sa.func.count(Broadcast.id.distinct()), sa.func.count(), since)
        .join(Broadcast, Broadcast.staff_id == Staff.id)
        .join(Copy, Copy.broadcast_id == Broadcast.id)
        .where(Broadcast.poll_at.is_not(None), Broadcast.status == BroadcastStatus.ASKED)
        .group_by(Staff.id, Staff.name, Staff.userid)
        .order_by(since)
    )
    return [Unconfirmed(name or userid, tasks, copies, at) for name, userid, tasks, copies, at in rows]
