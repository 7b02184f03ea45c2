"""One batch on its way: the gate, the tier, the channel, and what became of the letters it sent before."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns import audience, definition, deliveries, enrolments, gifts, guards, messages, sieve
from campaigns.content import FieldMissing
from campaigns.definition import Definition, Message
from campaigns.guard_rules import Channel, Decision, Gate, Verdict, refused
from campaigns.models.campaign import Batch, Campaign, Delivery, DeliveryStatus, Run
from crm.base import outbox
from crm.base.db import is_among
from crm.base.outbox import OutboxRow, Status

KF_REF = "kf"
RETRY_HELD = timedelta(minutes=1)  # the gate cannot say until when
LOOK_AT_KF = timedelta(seconds=5)  # whether the outbox has settled what it was given


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

    async def reachable_between(self, session: AsyncSession, after_id: int, upto_id: int, *, now: datetime) -> set[int]:
        """Members with an id in (after_id, upto_id] whose window is open and who are in the bot's hands."""

    async def put(self, session: AsyncSession, letters: Sequence[Letter], *, now: datetime) -> None:
        """Write them into the outbox."""


class NoKf:
    """A shop whose campaigns do not use the kf chat."""

    async def reachable_between(self, session: AsyncSession, after_id: int, upto_id: int, *, now: datetime) -> set[int]:
        return set()

    async def put(self, session: AsyncSession, letters: Sequence[Letter], *, now: datetime) -> None:
        raise NotImplementedError("nobody is reachable here")


def kf_ref(run_id: int, member_id: int, number: int) -> str:
    """What a letter is known by to the gate and the outbox. One that was taken back leaves under the next number."""
    return f"{KF_REF}:{run_id}:{member_id}:{number}"


async def drain_batch(
    session: AsyncSession, batch: Batch, run: Run, campaign: Campaign, *, gate: Gate, kf: Kf, now: datetime
) -> None:
    """Put what waits in this batch on its way. The caller holds the batch's lock."""
    told = definition.read(run.definition)
    await _take_ends(session, batch, now=now)
    due = await _Draining(session, gate, kf, batch, told, now).send()
    if batch.letters and await deliveries.on_the_way(session, *_of(batch), Channel.KF):
        due.append(now + LOOK_AT_KF)
    batch.due_at = min(due, default=None)


def _of(batch: Batch) -> tuple[int, int, int]:
    return batch.run_id, batch.after_id, batch.upto_id


async def _out(session: AsyncSession, batch: Batch) -> dict[str, int]:
    """References of letters of this batch that may be under way, and whose they are."""
    if not batch.letters:
        return {}
    out = await deliveries.on_the_way(session, *_of(batch), Channel.KF)
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


async def bounced(session: AsyncSession, ref: str) -> None:
    """The platform took a letter and says now that it did not arrive: it counts as no touch. Not of ours: nothing."""
    kind, *numbers = ref.split(":")
    if kind != KF_REF or len(numbers) != 3:
        return
    run_id, member_id, _ = map(int, numbers)
    await deliveries.bounced(session, run_id, member_id)
    await guards.bounced(session, ref, code="gate.not_sent")


async def take_back_letters(session: AsyncSession, run_id: int, *, now: datetime) -> None:
    """What has not left yet of a run's letters shall not."""
    written = sa.select(Batch).where(Batch.run_id == run_id, Batch.letters > 0)
    for batch in (await session.scalars(written)).all():
        if refs := await _out(session, batch):
            mine = is_among(session, OutboxRow.gate_ref, refs)
            await outbox.cancel(session, mine, reason="taken back", now=now)


@dataclass(slots=True)
class _Draining:
    """The people of one batch at one instant. They are moved in whole ranges; only who is special is known by id."""

    session: AsyncSession
    gate: Gate
    kf: Kf
    batch: Batch
    told: Definition
    now: datetime
    open: tuple[DeliveryStatus, ...] = (DeliveryStatus.PLANNED, DeliveryStatus.HELD)  # of those not decided about yet
    tiers: dict[int, int] = field(default_factory=dict)
    decided: set[int] = field(default_factory=set)
    due: list[datetime] = field(default_factory=list)

    async def send(self) -> list[datetime]:
        """Everybody gets a channel or a reason; returns when those held back are looked at again."""
        if any([await self._lets_through(channel) for channel in self.told.channels]):
            # Who is held is planned anew; while nobody gets through they stay as they are, and nothing is written.
            await deliveries.reopen(self.session, *_of(self.batch))
            self.open = (DeliveryStatus.PLANNED,)
        if self.told.listens:
            out = await audience.who_left(self.session, self.told.condition, await self._ids(), now=self.now)
            await self._decide({one: refused(deliveries.LEFT_AUDIENCE) for one in out})
            gone = await enrolments.gone(self.session, self.batch.run_id, self.told, await self._ids())
            await self._decide({one: refused(why) for one, why in gone.items()})
        if self.told.tiers:
            self.tiers = await audience.tiers(self.session, self.told, await self._ids(), now=self.now)
            await deliveries.put_tiers(self.session, *_of(self.batch), self.tiers)
        for channel in self.told.channels:
            await (self._write() if channel is Channel.KF else self._ask_staff())
        await deliveries.leave_out(self.session, *_of(self.batch), deliveries.NO_CONTACT)
        return [max(at, self.now + timedelta(seconds=1)) for at in self.due]

    async def _lets_through(self, channel: Channel) -> bool:
        said = await guards.of_anybody(self.session, self.gate, channel=channel, now=self.now)
        return said.verdict is not Verdict.HELD

    async def _ids(self) -> list[int]:
        asked = deliveries.waiting(*_of(self.batch), self.open)
        return [one.member_id for one in await self.session.execute(asked) if one.member_id not in self.decided]

    async def _decide(self, decisions: Mapping[int, Decision]) -> None:
        no = {one: decision for one, decision in decisions.items() if not decision.is_allowed}
        await deliveries.decide(self.session, self.batch.run_id, no)
        self.decided |= no.keys()
        self._look_again(no.values())

    def _look_again(self, decisions: Iterable[Decision]) -> None:
        self.due += [one.until or self.now + RETRY_HELD for one in decisions if one.verdict is Verdict.HELD]

    async def _write(self) -> None:
        """By the bot, to whom it may write now."""
        talks = await self.kf.reachable_between(self.session, self.batch.after_id, self.batch.upto_id, now=self.now)
        if not talks:
            return
        asked = deliveries.waiting(*_of(self.batch), self.open).where(is_among(self.session, _member, talks))
        here: dict[int, int] = {
            row.member_id: row.variant for row in await self.session.execute(asked.order_by(_member))
        }
        said = {
            one: self.told.message(self.tiers.get(one), variant)
            for one, variant in here.items()
            if one not in self.decided
        }
        texts = await messages.fill(self.session, said, now=self.now)
        await self._decide({one: refused(_why_no_text(text)) for one, text in texts.items() if _is_not_one(text)})
        refs = {one: kf_ref(self.batch.run_id, one, self.batch.letters) for one in said if one not in self.decided}
        if not refs:
            return
        self.batch.letters += 1
        await self._decide(
            await guards.admit(self.session, self.gate, refs, channel=Channel.KF, topic=self.told.topic, now=self.now)
        )
        await self._give(refs)
        deadline = self.now + self.told.grace
        letters = [
            Letter(self.batch.run_id, one, ref, text, deadline)
            for one, ref in refs.items()
            if one not in self.decided and isinstance(text := texts[one], Message)
        ]
        await self.kf.put(self.session, letters, now=self.now)
        going = [one.member_id for one in letters]
        to = DeliveryStatus.QUEUED
        await deliveries.move(
            self.session, self.batch.run_id, going, to, before=self.open, channel=Channel.KF, reason=None
        )

    async def _ask_staff(self) -> None:
        """By 企业群发: everybody's copy, to be put together when the whole run is planned."""
        asked = deliveries.waiting(*_of(self.batch), self.open)
        said = await sieve.sift(
            self.session, self.gate, asked, self.batch.after_id, self.batch.upto_id,
            channel=Channel.BROADCAST, topic=self.told.topic, now=self.now,
        )  # fmt: skip
        await self._decide({one: decision for one, decision in said.known.items() if one not in self.decided})
        if not said.rest.is_allowed:
            known = {*said.known, *self.decided}
            await deliveries.decide_rest(self.session, *_of(self.batch), said.rest, known=known)
            self._look_again([said.rest])
            free = [one for one in said.known if one not in self.decided]
            await deliveries.move(self.session, self.batch.run_id, free, DeliveryStatus.PLANNED, before=self.open)
        if self.told.gives is not None:
            await self._give_by_staff()
        await audience.copy_out(self.session, *_of(self.batch))

    async def _give(self, refs: Mapping[int, str]) -> None:
        """The coupon that comes with the letters; whom there is none for, the gate has let through in vain."""
        going = [one for one in refs if one not in self.decided]
        without = await gifts.give(self.session, self.told, self.batch.run_id, going, now=self.now)
        for one in without:
            await guards.release(self.session, refs[one], code="gate.not_sent", member_ids=[one])
        await self._decide(without)

    async def _give_by_staff(self) -> None:
        """The same for those whose copy is made next; who is in nobody's contacts gets none."""
        asked = deliveries.waiting(*_of(self.batch), (DeliveryStatus.PLANNED,))
        planned = [one.member_id for one in await self.session.execute(asked)]
        going = [one for one in await audience.senders(self.session, planned) if one not in self.decided]
        await self._decide(await gifts.give(self.session, self.told, self.batch.run_id, going, now=self.now))


_member = Delivery.member_id


def _is_not_one(text: object) -> bool:
    return not isinstance(text, Message)


def _why_no_text(refusal: object) -> str:
    return deliveries.FIELD_MISSING if isinstance(refusal, FieldMissing) else deliveries.TOO_LONG
