"""The way through a sequence: a step is sent when it comes due, once, and the next begins when it came to its end.

A step's message is an ordinary delivery of a run of that step and day, so the gate, the channels, the staff's tasks, a
pause and the report are those of every campaign. What is late asks, like any run. Of an enrolment each step is a row:
that, and the lock on the enrolment, is what keeps a step from being sent twice.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns import (
    definition,
    engine,
    enrolments,
    experiments,
    firing,
    sequence_exits,
    step_times,
)
from campaigns.definition import Definition
from campaigns.engine import LATE, RunAsks
from campaigns.enrolments import GOAL
from campaigns.models.campaign import (
    OPEN,
    Batch,
    Campaign,
    CampaignStatus,
    Delivery,
    DeliveryStatus,
    Run,
    RunStatus,
)
from campaigns.models.sequence import Enrolment, EnrolmentStep, Phase
from campaigns.step_times import LOOK_FIRST, SOON
from crm import conditions, segment_compiler
from crm.base import events
from crm.base.clock import local_day
from crm.base.db import insert, is_among

TOGETHER = 500
LEFT_AUDIENCE, IN_VAIN, NOT_FOR_THEM, TOO_LONG_HELD, TWICE_A_DAY = (
    "left_audience", "waited_in_vain", "not_for_them", "held_too_long", "had_it_today",
)  # fmt: skip
WILL_NOT_HEAR = frozenset({"gate.opted_out", "gate.no_opt_in", "gate.erased", "gate.merged", "gate.unknown"})
_quiet = {"synchronize_session": False}


async def advance(session: AsyncSession, *, now: datetime) -> bool:
    """Take those whose instant has come one further; False when there is nobody."""
    rows = await session.execute(
        sa.select(Enrolment, Campaign)
        .join(Campaign, Campaign.id == Enrolment.campaign_id)
        .where(Enrolment.due_at <= now, Campaign.status == CampaignStatus.RUNNING)
        .order_by(Enrolment.due_at, Enrolment.id)
        .limit(TOGETHER)
        .with_for_update(of=Enrolment, skip_locked=True)
        .execution_options(populate_existing=True)
    )
    due = rows.all()
    running = await engine.still_run(session, {campaign.id for _, campaign in due})
    alike: defaultdict[tuple[int, int, int], list[Enrolment]] = defaultdict(list)
    for one, campaign in due:
        if campaign.id in running:
            alike[campaign.id, one.version, one.step].append(one)
    campaigns = {campaign.id: campaign for _, campaign in due}
    for (campaign_id, version, _), people in alike.items():
        told = await enrolments.told_in(session, campaign_id, version)
        await _Stepping(session, campaigns[campaign_id], told, version, now).take(people)
    await session.flush()
    for campaign_id in sorted({campaign_id for campaign_id, _, _ in alike}):
        await engine.finish_if_over(session, campaign_id, now=now)
    return bool(alike)


class _Stepping:
    """Enrolments that stand before, or in, the same step of the same version, at one instant; all locked."""

    def __init__(
        self, session: AsyncSession, campaign: Campaign, told: Definition, version: int, now: datetime
    ) -> None:
        self.session, self.campaign, self.told, self.version, self.now = session, campaign, told, version, now

    async def take(self, people: Sequence[Enrolment]) -> None:
        wait = self.told.steps[people[0].step].wait
        otherwise = wait.otherwise if wait is not None else "send"
        by_phase = {phase: [one for one in people if one.phase is phase] for phase in Phase}
        await self._look(by_phase[Phase.UNDER_WAY])
        ready = by_phase[Phase.DUE]
        for one in by_phase[Phase.LISTENS]:
            if otherwise == "send":
                ready.append(one)
            elif otherwise == "skip":
                await self._spare(one, IN_VAIN)
            else:
                await sequence_exits.leave(self.session, [one], IN_VAIN, now=self.now)
        if ready:
            await self._send(ready)

    # What became of a step that is under way

    async def _look(self, people: Sequence[Enrolment]) -> None:
        if not people:
            return
        rows = await self.session.execute(
            sa.select(EnrolmentStep, Delivery.status, Delivery.reason, Delivery.sent_at)
            .outerjoin(
                Delivery,
                sa.and_(Delivery.run_id == EnrolmentStep.run_id, Delivery.member_id == EnrolmentStep.member_id),
            )
            .where(is_among(self.session, EnrolmentStep.enrolment_id, [one.id for one in people]))
            .where(EnrolmentStep.step == people[0].step)
        )
        known = {row[0].enrolment_id: row for row in rows}
        for one in people:
            had, status, reason, sent_at = known[one.id]
            waited = self.now - had.at
            if status in OPEN:
                if status is not DeliveryStatus.HELD or waited <= self.told.patience:
                    one.due_at = step_times.look_again(had.at, self.now)
                    continue
                lost = (had.run_id, had.member_id, TOO_LONG_HELD)
                if not await sequence_exits.take_back(self.session, *lost, now=self.now):
                    one.due_at = self.now + LOOK_FIRST
                    continue
            elif reason in WILL_NOT_HEAR and had.member_id == one.member_id and status is DeliveryStatus.SKIPPED:
                await sequence_exits.leave(self.session, [one], str(reason), now=self.now)
                continue
            if status is DeliveryStatus.SENT and sent_at is not None:
                one.day_zero = step_times.shifted(one.day_zero, planned=had.planned_on, sent_at=sent_at)
            self._next(one, ended_at=sent_at or self.now)

    def _next(self, one: Enrolment, *, ended_at: datetime) -> None:
        if (place := step_times.forward(one, self.told, ended_at=ended_at, now=self.now)) is not None:
            one.waits_since = place.waits_since

    async def _spare(self, one: Enrolment, reason: str) -> None:
        """This step is not for them, or not now; the next may be."""
        await self.session.execute(
            insert(self.session, EnrolmentStep).values(**self._had(one, None, reason)).on_conflict_do_nothing()
        )
        self._next(one, ended_at=self.now)

    def _had(self, one: Enrolment, run_id: int | None, reason: str | None = None) -> dict[str, Any]:
        planned = step_times.planned_on(self.told.steps[one.step], day_zero=one.day_zero, due_at=one.due_at or self.now)
        return {
            "enrolment_id": one.id, "step": one.step, "member_id": one.member_id, "run_id": run_id,
            "planned_on": planned, "at": self.now, "reason": reason,
        }  # fmt: skip

    # A step that has come

    async def _send(self, people: Sequence[Enrolment]) -> None:
        """To everybody who is still for it: a delivery in the run of this step and day."""
        step = self.told.steps[people[0].step]
        done = await enrolments.reached(self.session, self.told, {one.member_id: one.entered_at for one in people})
        wanted = [self.told.stays or definition.ANYBODY, step.only or definition.ANYBODY]
        judged = await segment_compiler.judge(
            self.session, [conditions.read(one) for one in wanted], [one.member_id for one in people], now=self.now
        )
        in_time, late = [], []
        for one in people:
            stays, fits = judged.get(one.member_id, (False, False))
            if one.member_id in done or not stays:
                await sequence_exits.leave(
                    self.session, [one], GOAL if one.member_id in done else LEFT_AUDIENCE, now=self.now
                )
            elif not fits:
                await self._spare(one, NOT_FOR_THEM)
            elif one.due_at is None or self.now - one.due_at <= self.told.grace:
                in_time.append(one)
            elif self.told.late == "skip":
                await self._spare(one, LATE)
            else:
                late.append(one)
        if in_time:
            await self._plan(in_time, RunStatus.SENDING)
        if late:
            await self._plan(late, RunStatus.ASKS)

    async def _plan(self, people: Sequence[Enrolment], status: RunStatus) -> None:
        run = await self._run(people[0].step, status)
        if run is None:  # another worker has it, or it has just ended
            for one in people:
                one.due_at = max(one.due_at or self.now, self.now) + SOON
            return
        people = sorted(people, key=lambda one: one.member_id)
        busy = await self._cover(run, [one.member_id for one in people])
        ready = [one for one in people if one.member_id not in busy]
        for one in people:
            if one.member_id in busy:
                one.due_at = self.now + SOON
        if ready:
            await self._deliver(run, ready)

    async def _run(self, number: int, status: RunStatus) -> Run | None:
        """The open run of this step and day, locked; begun if there is none."""
        name = f"{local_day(self.now).isoformat()}#{self.version}.{number}"
        name += "late" if status is RunStatus.ASKS else ""
        mine = (Run.campaign_id == self.campaign.id, Run.occurrence.like(f"{name}+%"))
        found: list[int] = list(await self.session.scalars(sa.select(Run.id).where(*mine, Run.status == status)))
        if not found:
            count = await self.session.scalar(sa.select(sa.func.count()).select_from(Run).where(*mine))
            begun = await firing.begin(
                self.session, self.campaign, definition.of_step(self.told, number), occurrence=f"{name}+{count}",
                due_at=self.now, status=status, because=LATE if status is RunStatus.ASKS else "", last_id=0,
                now=self.now,
            )  # fmt: skip
            if begun is not None and status is RunStatus.ASKS:
                asks = RunAsks(campaign_id=self.campaign.id, run_id=begun, because=LATE)
                await events.append(self.session, asks, now=self.now)
            found = [begun] if begun is not None else []
        locked: Run | None = await self.session.scalar(
            sa.select(Run)
            .where(Run.id.in_(found), Run.status == status)
            .order_by(Run.id.desc())
            .limit(1)
            .with_for_update(skip_locked=True)
            .execution_options(populate_existing=True)
        )
        return locked

    async def _cover(self, run: Run, member_ids: Sequence[int]) -> set[int]:
        """Have each member lie in one batch that is due; returns those whose batch somebody works on right now.

        Batches never overlap: whoever locks one has its members alone. We hold the run, so nobody else makes any.
        """
        known = sa.select(Batch).where(
            Batch.run_id == run.id, Batch.upto_id >= member_ids[0], Batch.after_id < member_ids[-1]
        )
        batches = (await self.session.scalars(known.order_by(Batch.after_id))).all()
        ends = [one.upto_id for one in batches]
        inside: defaultdict[int, list[int]] = defaultdict(list)
        between: defaultdict[int, list[int]] = defaultdict(list)
        for member_id in member_ids:
            place = bisect_left(ends, member_id)  # the first batch that ends at or after them
            covered = place < len(batches) and batches[place].after_id < member_id
            (inside if covered else between)[place].append(member_id)
        taken = sa.select(Batch.id).where(Batch.id.in_([batches[place].id for place in inside]))
        free = set(await self.session.scalars(taken.with_for_update(skip_locked=True)))
        bump = sa.update(Batch).where(Batch.id.in_(free)).values(due_at=self.now)
        await self.session.execute(bump, execution_options=_quiet)
        for some in between.values():
            self.session.add(Batch(run_id=run.id, after_id=some[0] - 1, upto_id=some[-1], due_at=self.now))
        return {member_id for place, some in inside.items() if batches[place].id not in free for member_id in some}

    async def _deliver(self, run: Run, people: Sequence[Enrolment]) -> None:
        number = people[0].step
        shares = [one.share for one in self.told.steps[number].messages]
        rows = [self._had(one, run.id) for one in people]
        noted = insert(self.session, EnrolmentStep).values(rows).on_conflict_do_nothing()
        first = set(await self.session.scalars(noted.returning(EnrolmentStep.enrolment_id)))
        campaign_id, percent = self.campaign.id, self.told.holdout_percent
        planned = [
            {
                "run_id": run.id,
                "member_id": one.member_id,
                "status": DeliveryStatus.HOLDOUT
                if experiments.in_holdout(campaign_id, percent, one.member_id)
                else DeliveryStatus.PLANNED,
                "variant": experiments.variant_of(campaign_id, shares, one.member_id),
            }
            for one in people
            if one.id in first
        ]
        new: set[int] = set()
        if planned:
            made = insert(self.session, Delivery).values(planned).on_conflict_do_nothing()
            new = set(await self.session.scalars(made.returning(Delivery.member_id)))
        for one in people:
            if one.id in first and one.member_id in new:
                one.phase, one.run_id, one.due_at, one.waits_since = (
                    Phase.UNDER_WAY, run.id, self.now + LOOK_FIRST, None,
                )  # fmt: skip
                continue
            if one.id in first:
                lost = sa.update(EnrolmentStep).where(
                    EnrolmentStep.enrolment_id == one.id, EnrolmentStep.step == number
                )
                await self.session.execute(lost.values(run_id=None, reason=TWICE_A_DAY), execution_options=_quiet)
            self._next(one, ended_at=self.now)
