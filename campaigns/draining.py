"""One batch on its way: the gate, the tier, the channel, and what became of the letters it sent before."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns import audience, definition, deliveries, guards, messages
from campaigns.content import FieldMissing
from campaigns.definition import Definition, Message
from campaigns.deliveries import Planned
from campaigns.guard_rules import Channel, Decision, Gate, Verdict, refused
from campaigns.models.campaign import Batch, Campaign, Copy, DeliveryStatus, Run
from crm.base import outbox
from crm.base.db import insert_all, is_among
from crm.base.outbox import OutboxRow, Status

RETRY_HELD = timedelta(minutes=1)  # the gate cannot say until when
LOOK_AT_KF = timedelta(seconds=5)  # whether the outbox has settled what it was given
_copies: Any = Copy.__table__


@dataclass(frozen=True, slots=True)
class Letter:
    """A message to one member in the kf chat. ref: what the gate let it through under."""

    run_id: int
    member_id: int
    ref: str
    message: Message
    deadline: datetime


class Kf(Protocol):
    """The chat of 微信客服: the edge knows who may be written to there, and writes."""

    async def reachable(self, session: AsyncSession, member_ids: Collection[int], *, now: datetime) -> set[int]:
        """Those of them whose window is open and who are in the bot's hands."""

    async def put(self, session: AsyncSession, letters: Sequence[Letter], *, now: datetime) -> None:
        """Write them into the outbox."""


class NoKf:
    """A shop whose campaigns do not use the kf chat."""

    async def reachable(self, session: AsyncSession, member_ids: Collection[int], *, now: datetime) -> set[int]:
        return set()

    async def put(self, session: AsyncSession, letters: Sequence[Letter], *, now: datetime) -> None:
        raise NotImplementedError("nobody is reachable here")


def kf_ref(run_id: int, member_id: int, number: int) -> str:
    """What a letter is known by to the gate and the outbox. One that was taken back leaves under the next number."""
    return f"kf:{run_id}:{member_id}:{number}"


async def drain_batch(
    session: AsyncSession, batch: Batch, run: Run, campaign: Campaign, *, gate: Gate, kf: Kf, now: datetime
) -> None:
    """Put what waits in this batch on its way. The caller holds the batch's lock."""
    told = definition.read(run.definition)
    await _take_ends(session, batch, now=now)
    people = await deliveries.waiting(session, run.id, batch.after_id, batch.upto_id)
    work = _Draining(session, gate, kf, batch, told, now, {one.member_id: one for one in people})
    due = [at for at in (await work.send(),) if at is not None] if people else []
    if await deliveries.on_the_way(session, run.id, batch.after_id, batch.upto_id, Channel.KF):
        due.append(now + LOOK_AT_KF)
    batch.due_at = min(due, default=None)


async def _out(session: AsyncSession, batch: Batch) -> dict[str, int]:
    """References of letters of this batch that may be under way, and whose they are."""
    if not batch.letters:
        return {}
    out = await deliveries.on_the_way(session, batch.run_id, batch.after_id, batch.upto_id, Channel.KF)
    return {kf_ref(batch.run_id, one, number): one for one in out for number in range(batch.letters)}


async def _take_ends(session: AsyncSession, batch: Batch, *, now: datetime) -> None:
    """What the outbox did with the letters of this batch. Those taken back by a pause or the gate are planned again."""
    refs = await _out(session, batch)
    if not refs:
        return
    rows = await session.execute(
        sa.select(OutboxRow.gate_ref, OutboxRow.status, OutboxRow.settled_at, OutboxRow.error)
        .where(is_among(session, OutboxRow.gate_ref, refs))
        .order_by(OutboxRow.id)
    )
    newest = {refs[row.gate_ref]: row for row in rows}
    sent_at = {one: row.settled_at for one, row in newest.items() if row.status is Status.SENT}
    await deliveries.sent(session, batch.run_id, sent_at)
    again = [one for one, row in newest.items() if row.status is Status.CANCELLED]
    await deliveries.move(session, batch.run_id, again, DeliveryStatus.PLANNED, channel=None)
    lost = {
        one: (row.error or deliveries.NOT_SENT)[:60]
        for one, row in newest.items()
        if row.status in (Status.DEAD, Status.UNKNOWN)
    }
    for reason in sorted(set(lost.values())):
        mine = [one for one, why in lost.items() if why == reason]
        await deliveries.failed(session, batch.run_id, mine, reason)
    for one in (*again, *lost):
        await guards.release(session, str(newest[one].gate_ref), code="gate.not_sent", member_ids=[one])


async def take_back_letters(session: AsyncSession, run_id: int, *, now: datetime) -> None:
    """What has not left yet of a run's letters shall not."""
    written = sa.select(Batch).where(Batch.run_id == run_id, Batch.letters > 0)
    for batch in (await session.scalars(written)).all():
        if refs := await _out(session, batch):
            mine = is_among(session, OutboxRow.gate_ref, refs)
            await outbox.cancel(session, mine, reason="taken back", now=now)


@dataclass(slots=True)
class _Draining:
    """The people of one batch at one instant; whoever is decided about or carried off leaves `left`."""

    session: AsyncSession
    gate: Gate
    kf: Kf
    batch: Batch
    told: Definition
    now: datetime
    left: dict[int, Planned]
    tiers: dict[int, int] = field(default_factory=dict)
    decided: dict[int, Decision] = field(default_factory=dict)

    async def send(self) -> datetime | None:
        """Everybody gets a channel or a reason; returns when those held back are looked at again."""
        if self.told.listens:
            out = await audience.who_left(self.session, self.told.condition, self.left, now=self.now)
            self._refuse({one: refused(deliveries.LEFT_AUDIENCE) for one in out})
        self.tiers = await audience.tiers(self.session, self.told, self.left, now=self.now)
        for channel in self.told.channels:
            if self.left:
                await (self._write() if channel is Channel.KF else self._ask_staff())
        self._refuse({one: refused(deliveries.NO_CONTACT) for one in self.left})
        await deliveries.decide(self.session, self.batch.run_id, self.decided)
        held = [one.until or self.now + RETRY_HELD for one in self.decided.values() if one.verdict is Verdict.HELD]
        return max(min(held), self.now + timedelta(seconds=1)) if held else None

    def _refuse(self, decisions: Mapping[int, Decision]) -> None:
        no = {one: decision for one, decision in decisions.items() if not decision.is_allowed}
        self.decided.update(no)
        for member_id in no:
            self.left.pop(member_id, None)

    async def _write(self) -> None:
        """By the bot, to whom it may write now."""
        reachable = sorted(await self.kf.reachable(self.session, self.left, now=self.now) & self.left.keys())
        texts = await messages.fill(
            self.session, {one: self._message(self.left[one]) for one in reachable}, now=self.now
        )
        self._refuse({one: refused(_why_no_text(text)) for one, text in texts.items() if not isinstance(text, Message)})
        reachable = [one for one in reachable if one in self.left]
        if not reachable:
            return
        refs = {one: kf_ref(self.batch.run_id, one, self.batch.letters) for one in reachable}
        self.batch.letters += 1
        self._refuse(
            await guards.admit(self.session, self.gate, refs, channel=Channel.KF, topic=self.told.topic, now=self.now)
        )
        going = [self.left[one] for one in reachable if one in self.left]
        deadline = self.now + self.told.grace
        letters = [
            Letter(self.batch.run_id, one.member_id, refs[one.member_id], text, deadline)
            for one in going
            if isinstance(text := texts[one.member_id], Message)
        ]
        await self.kf.put(self.session, letters, now=self.now)
        await self._queued([one.member_id for one in going], Channel.KF)

    async def _ask_staff(self) -> None:
        """By 企业群发: everybody's copy, to be put together when the whole run is planned."""
        senders = await audience.senders(self.session, self.left)
        asked = [one for one in self.left if one in senders]
        self._refuse(
            await guards.judge(
                self.session, self.gate, asked, channel=Channel.BROADCAST, topic=self.told.topic, now=self.now
            )
        )
        going = [one for one in asked if one in self.left]
        rows = [
            {
                "run_id": self.batch.run_id,
                "member_id": one,
                "staff_id": senders[one].staff_id,
                "variant": self.left[one].variant,
                "tier": self.tiers.get(one),
                "external_userid": senders[one].external_userid,
            }
            for one in going
        ]
        again = "(run_id, member_id) DO UPDATE SET broadcast_id = NULL, staff_id = excluded.staff_id,"
        await insert_all(self.session, _copies, rows, conflict=f"{again} external_userid = excluded.external_userid")
        await self._queued(going, Channel.BROADCAST)

    async def _queued(self, member_ids: Sequence[int], channel: Channel) -> None:
        by_tier: dict[int | None, list[int]] = {}
        for one in member_ids:
            by_tier.setdefault(self.tiers.get(one), []).append(one)
            del self.left[one]
        for tier, mine in by_tier.items():
            await deliveries.move(
                self.session, self.batch.run_id, mine, DeliveryStatus.QUEUED, channel=channel, tier=tier, reason=None
            )

    def _message(self, one: Planned) -> Message:
        return self.told.message(self.tiers.get(one.member_id), one.variant)


def _why_no_text(refusal: object) -> str:
    return deliveries.FIELD_MISSING if isinstance(refusal, FieldMissing) else deliveries.TOO_LONG
