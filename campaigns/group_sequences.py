"""群 SOP: customer groups go through the steps of a sequence, from the day each came in.

A step is a run of its own whose post goes to the groups that are due together, so the owners' tasks, the quota, quiet
hours, a pause and the report are those of every post into groups. Of a group each step is a row: that, and the lock on
its enrolment, keeps a step from being posted twice.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns import definition, engine, enrolments, firing, group_audience, group_posts, group_runs, step_times
from campaigns.definition import CampaignWrong, Definition
from campaigns.engine import LATE, RunAsks
from campaigns.models.campaign import OPEN, Campaign, CampaignStatus, DeliveryStatus, Kind, Run, RunStatus
from campaigns.models.group_post import GroupCopy, GroupPost
from campaigns.models.sequence import EnrolmentStatus, GroupEnrolment, GroupEnrolmentStep, Phase
from campaigns.step_times import LOOK_FIRST, SOON
from crm.base import events
from crm.base.clock import local_day
from crm.base.db import insert
from crm.models.group import Group

TOGETHER = 500  # groups of one post, and of one look
NO_LONGER_MEANT = "left_audience"
_quiet = {"synchronize_session": False}


async def enter(session: AsyncSession, *, now: datetime) -> int:
    """Let groups in that are meant and were not in it before; returns how many. Looked for again and again."""
    rows = await session.scalars(
        sa.select(Campaign).where(Campaign.kind == Kind.STEPS, Campaign.status == CampaignStatus.RUNNING)
    )
    came = 0
    for campaign in rows.all():
        try:
            told = definition.read(campaign.definition)
        except CampaignWrong as wrong:
            await engine.pause(session, campaign.id, because=str(wrong), by="", now=now)
            continue
        if told.groups is None or (told.ends is not None and now >= told.ends):
            continue
        known = sa.select(GroupEnrolment.group_id).where(GroupEnrolment.campaign_id == campaign.id)
        inside = set(await session.scalars(known))
        fresh = [one for one in await group_audience.select(session, told.groups) if one.group_id not in inside]
        if not fresh:
            continue
        version = await enrolments.version_of(session, campaign.id, told)
        place = step_times.begins(told, 0, day_zero=local_day(now), ended_at=now)
        values = [
            {
                "campaign_id": campaign.id, "version": version, "group_id": one.group_id, "step": 0,
                "status": EnrolmentStatus.ACTIVE, "phase": place.phase, "due_at": place.due_at, "entered_at": now,
                "day_zero": local_day(now), "because": "",
            }
            for one in fresh
        ]  # fmt: skip
        made = insert(session, GroupEnrolment).values(values).on_conflict_do_nothing().returning(GroupEnrolment.id)
        came += len((await session.scalars(made)).all())
    return came


async def advance(session: AsyncSession, *, now: datetime) -> bool:
    """Take groups whose instant has come one further; False when there is none."""
    rows = await session.execute(
        sa.select(GroupEnrolment, Campaign)
        .join(Campaign, Campaign.id == GroupEnrolment.campaign_id)
        .where(GroupEnrolment.due_at <= now, Campaign.status == CampaignStatus.RUNNING)
        .order_by(GroupEnrolment.due_at, GroupEnrolment.id)
        .limit(TOGETHER)
        .with_for_update(of=GroupEnrolment, skip_locked=True)
        .execution_options(populate_existing=True)
    )
    alike: defaultdict[tuple[int, int, int], list[GroupEnrolment]] = defaultdict(list)
    campaigns: dict[int, Campaign] = {}
    for one, campaign in rows:
        campaigns[campaign.id] = campaign
        alike[campaign.id, one.version, one.step].append(one)
    running = await engine.still_run(session, set(campaigns))
    for (campaign_id, version, _), groups in alike.items():
        if campaign_id in running:
            told = await enrolments.told_in(session, campaign_id, version)
            await _Stepping(session, campaigns[campaign_id], told, version, now).take(groups)
    await session.flush()
    for campaign_id in sorted(running):
        await engine.finish_if_over(session, campaign_id, now=now)
    return bool(running)


class _Stepping:
    """Groups that stand before, or in, the same step of the same version, at one instant; all locked."""

    def __init__(
        self, session: AsyncSession, campaign: Campaign, told: Definition, version: int, now: datetime
    ) -> None:
        self.session, self.campaign, self.told, self.version, self.now = session, campaign, told, version, now

    async def take(self, groups: Sequence[GroupEnrolment]) -> None:
        under_way, due = ([one for one in groups if one.phase is phase] for phase in (Phase.UNDER_WAY, Phase.DUE))
        await self._look(under_way)  # whose next step comes later, and not with those that are due now
        await self._send(due)

    async def _look(self, groups: Sequence[GroupEnrolment]) -> None:
        """What became of the step under way. A copy that nobody sent is over as well: the next step may come."""
        if not groups:
            return
        copies = await self._copies({one.run_id for one in groups if one.run_id is not None})
        had = sa.select(GroupEnrolmentStep).where(
            GroupEnrolmentStep.enrolment_id.in_([one.id for one in groups]), GroupEnrolmentStep.step == groups[0].step
        )
        steps = {step.enrolment_id: step for step in await self.session.scalars(had)}
        over = set(
            await self.session.scalars(
                sa.select(Run.id).where(Run.id.in_([one.run_id for one in groups]), Run.finished_at.is_not(None))
            )
        )
        for one in groups:
            copy, step = copies.get((one.run_id, one.group_id)), steps[one.id]
            if (copy is None and one.run_id not in over) or (copy is not None and copy.status in OPEN):
                one.due_at = step_times.look_again(step.at, self.now)
            elif copy is not None and copy.reason == group_posts.GONE:
                self._leave(one, group_posts.GONE)
            else:
                sent_at = copy.sent_at if copy is not None and copy.status is DeliveryStatus.SENT else None
                if sent_at is not None:
                    one.day_zero = step_times.shifted(one.day_zero, planned=step.planned_on, sent_at=sent_at)
                step_times.forward(one, self.told, ended_at=sent_at or self.now, now=self.now)

    async def _copies(self, run_ids: set[int]) -> Mapping[tuple[int | None, int], GroupCopy]:
        run_of = {group_runs.ref(one): one for one in run_ids}
        rows = await self.session.execute(
            sa.select(GroupPost.ref, GroupCopy)
            .join(GroupCopy, GroupCopy.post_id == GroupPost.id)
            .where(GroupPost.ref.in_(run_of))
            .execution_options(populate_existing=True)
        )
        return {(run_of[ref], copy.group_id): copy for ref, copy in rows}

    async def _send(self, groups: Sequence[GroupEnrolment]) -> None:
        """Into every group that is still meant; what is late asks, or is spared."""
        if not groups:
            return
        assert self.told.groups is not None
        meant = {one.group_id for one in await group_audience.select(self.session, self.told.groups)}
        in_time, late = [], []
        for one in groups:
            if one.group_id not in meant:
                self._leave(one, await self._why_not_meant(one.group_id))
            elif one.due_at is None or self.now - one.due_at <= self.told.grace:
                in_time.append(one)
            elif self.told.late == "skip":
                await self._note([one], None, LATE)
                step_times.forward(one, self.told, ended_at=self.now, now=self.now)
            else:
                late.append(one)
        if in_time:
            await self._begin(in_time, RunStatus.PLANNING)
        if late:
            await self._begin(late, RunStatus.ASKS)

    async def _why_not_meant(self, group_id: int) -> str:
        gone = await self.session.scalar(sa.select(Group.dismissed_at).where(Group.id == group_id))
        return group_posts.GONE if gone is not None else NO_LONGER_MEANT

    async def _begin(self, groups: Sequence[GroupEnrolment], status: RunStatus) -> None:
        """A run of this step for these groups together; ticks.plan makes its post."""
        number, asks = groups[0].step, status is RunStatus.ASKS
        name = f"{local_day(self.now).isoformat()}#{self.version}.{number}{'late' if asks else ''}"
        mine = (Run.campaign_id == self.campaign.id, Run.occurrence.like(f"{name}+%"))
        count = await self.session.scalar(sa.select(sa.func.count()).select_from(Run).where(*mine))
        ids = [one.group_id for one in groups]
        chat_ids = await self.session.scalars(sa.select(Group.chat_id).where(Group.id.in_(ids)).order_by(Group.id))
        run_id = await firing.begin(
            self.session, self.campaign, definition.of_group_step(self.told, number, list(chat_ids), at=self.now),
            occurrence=f"{name}+{count}", due_at=self.now, status=status, because=LATE if asks else "", last_id=1,
            now=self.now,
        )  # fmt: skip
        if run_id is None:  # another worker has just begun one of this name
            for one in groups:
                one.due_at = self.now + SOON
            return
        if asks:
            told = RunAsks(campaign_id=self.campaign.id, run_id=run_id, because=LATE)
            await events.append(self.session, told, now=self.now)
        await self._note(groups, run_id)
        for one in groups:
            one.phase, one.run_id, one.due_at = Phase.UNDER_WAY, run_id, self.now + LOOK_FIRST

    async def _note(self, groups: Sequence[GroupEnrolment], run_id: int | None, reason: str | None = None) -> None:
        """The rows that a step leaves behind: a second one of the same step is refused by the key."""
        rows = [
            {
                "enrolment_id": one.id, "step": one.step, "group_id": one.group_id, "run_id": run_id, "at": self.now,
                "reason": reason,
                "planned_on": step_times.planned_on(
                    self.told.steps[one.step], day_zero=one.day_zero, due_at=one.due_at or self.now
                ),
            }
            for one in groups
        ]  # fmt: skip
        await self.session.execute(sa.insert(GroupEnrolmentStep).values(rows))

    def _leave(self, one: GroupEnrolment, because: str) -> None:
        one.status, one.due_at, one.ended_at, one.run_id = EnrolmentStatus.LEFT, None, self.now, None
        one.because = because
