"""Events that sequences wait for: somebody enters, reaches the goal, has done what a step waits for, or is gone."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns import audience, deliveries, engine, enrolments, firing, sequence_exits, step_times
from campaigns.definition import CampaignWrong, Definition, read
from campaigns.enrolments import ACTIVE, GOAL
from campaigns.guard_rules import Channel
from campaigns.models.campaign import Campaign, CampaignStatus, Kind
from campaigns.models.sequence import Enrolment, Phase
from crm.base import events
from crm.base.events import Recorded
from crm.consents import ANY_CHANNEL, MARKETING, OptedOut
from crm.contacts import ContactLost
from crm.models.member import Contact

CURSOR = "sequences"
EVENTS_TOGETHER = 500
OPTED_OUT = "gate.opted_out"
ENDS = (OptedOut.__name__, ContactLost.__name__)


@dataclass(slots=True)
class _Reading:
    """The sequences that matter to some events: those one may enter, and those the events' members are in."""

    session: AsyncSession
    now: datetime
    open: list[tuple[Campaign, Definition]]
    inside: dict[int, list[Enrolment]] = field(default_factory=dict)
    told: dict[tuple[int, int], Definition] = field(default_factory=dict)

    async def hear(self, one: Recorded, member_id: int) -> None:
        for enrolment in self.inside.get(member_id, []):
            if enrolment.status is ACTIVE:
                await self._follow(one, enrolment)
        for campaign, told in self.open:
            on = told.on.happening if told.on is not None else None
            at = firing.happened_at(one)
            if on is not None and on.fits(one.name, one.body) and self.now - at <= told.grace:
                await self._enter(campaign, told, member_id, at)

    async def _follow(self, one: Recorded, enrolment: Enrolment) -> None:
        told = self.told[enrolment.campaign_id, enrolment.version]
        if one.at > enrolment.entered_at and any(goal.fits(one.name, one.body) for goal in told.goal):
            await sequence_exits.leave(self.session, [enrolment], GOAL, now=self.now)
        elif one.name in ENDS and (why := await self._why_gone(one, told, enrolment.member_id)):
            await sequence_exits.leave(self.session, [enrolment], why, now=self.now)
        elif enrolment.phase is Phase.LISTENS and enrolment.waits_since is not None:
            step = told.steps[enrolment.step]
            if step.wait is not None and one.at >= enrolment.waits_since and step.wait.fits(one.name, one.body):
                enrolments.stand(enrolment, step_times.heard(step, at=self.now))

    async def _why_gone(self, one: Recorded, told: Definition, member_id: int) -> str:
        if one.name == OptedOut.__name__:
            said_no = one.body["topic"] in (MARKETING, told.topic) and one.body["channel"] == ANY_CHANNEL
            return OPTED_OUT if said_no else ""
        others = sa.select(Contact.id).where(Contact.member_id == member_id, Contact.ended_at.is_(None)).limit(1)
        if Channel.BROADCAST not in told.channels or await self.session.scalar(others) is not None:
            return ""
        return deliveries.NO_LONGER_CONTACT

    async def _enter(self, campaign: Campaign, told: Definition, member_id: int, at: datetime) -> None:
        if await enrolments.enter(self.session, campaign.id, told, {member_id: at}, now=self.now):
            await self.remember([member_id])

    async def remember(self, member_ids: Sequence[int]) -> None:
        """Look up where these members are, and what they were told."""
        for member_id in member_ids:
            self.inside[member_id] = []
        for one in await enrolments.of_member(self.session, member_ids):
            self.inside[one.member_id].append(one)
            key = one.campaign_id, one.version
            if key not in self.told:
                self.told[key] = await enrolments.told_in(self.session, *key)


async def listen(session: AsyncSession, *, now: datetime) -> int:
    """Read the next events; returns how many. In the order they happened: who enters by one may leave by the next."""
    found = await events.take(session, CURSOR, limit=EVENTS_TOGETHER)
    about = [(one, int(one.body["member_id"])) for one in found if one.body.get("member_id") is not None]
    if about:
        reading = _Reading(session, now, await _open(session, now=now))
        await reading.remember(sorted({member_id for _, member_id in about}))
        for one, member_id in about:
            await reading.hear(one, member_id)
        await session.flush()
    return len(found)


async def _open(session: AsyncSession, *, now: datetime) -> list[tuple[Campaign, Definition]]:
    """Sequences that somebody may enter by an event. One that cannot be meant any more is paused."""
    rows = await session.scalars(
        sa.select(Campaign).where(Campaign.kind == Kind.STEPS, Campaign.status == CampaignStatus.RUNNING)
    )
    found = []
    for campaign in rows.all():
        try:
            told = await audience.look_up(session, read(campaign.definition))
        except CampaignWrong as wrong:
            await engine.pause(session, campaign.id, because=str(wrong), by="", now=now)
            continue
        if told.listens and (told.ends is None or now < told.ends):
            found.append((campaign, told))
    return found
