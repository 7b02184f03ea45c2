"""From the outbox to WeCom: lanes side by side, order within a key, each message settled once.

The claim and the window slot commit before the call; the settlement after it. Killed in between, the message is tried
again with the same msgid, which WeCom refuses as a duplicate, and that refusal counts as sent.

A marketing message asks the gate once more before it leaves; what the gate refuses then is cancelled with the reason.
"""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.metrics import ALERTS, SEND_SECONDS, SENDS
from bot.models.conversation import Conversation, KfSend
from bot.wecom import lanes, window
from bot.wecom.errors import (
    DuplicateMsgid,
    OutcomeUnknown,
    RateLimited,
    Retry,
    SessionEnded,
    SessionRefusesSend,
    WecomError,
)
from bot.wecom.lanes import Lane, Sent
from campaigns import brakes, guards
from campaigns.guard_rules import Decision, Gate, Verdict
from crm.base import outbox
from crm.base.clock import Clock
from crm.base.db import Sessions
from crm.base.groupcommit import GroupCommit
from crm.base.outbox import Claimed, OutboxRow, Settlement, Status
from crm.base.peers import Peers

log = logging.getLogger(__name__)

TRIES = 8
HOUSEKEEPING = timedelta(seconds=10)
PATIENCE = 5.0  # seconds for messages in hand when the service stops
IDLE = 0.5  # seconds between looks without a tap
ASK_AGAIN = timedelta(minutes=1)  # when the gate does not know until when it holds a message


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a try ended, and what else it taught us; both commit together."""

    settlement: Settlement
    learnt: tuple[sa.Executable, ...] = ()
    messages: tuple[outbox.Message, ...] = ()


class Sender:
    """Takes messages of its lanes from the outbox, sends them, writes down how it went."""

    def __init__(
        self,
        sessions: Sessions,
        peers: Peers,
        clock: Clock,
        chance: random.Random,
        table: Mapping[str, Lane],
        *,
        gate: Callable[[], Gate] = Gate,
    ) -> None:
        self._sessions, self._peers, self._clock, self._chance = sessions, peers, clock, chance
        self._lanes, self._gate = table, gate
        self._in_hand: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._kept_house_at: datetime | None = None
        self._settling: GroupCommit[Outcome, None] = GroupCommit(sessions, self._write)

    async def run(self) -> None:
        """Forever: take what may leave, send it; between looks, wait for a tap."""
        await self._settling.start()
        try:
            while True:
                await self._keep_house()
                if not await self._take_some():
                    await self._peers.wait("send", seconds=IDLE)
        finally:
            await self.drain()

    async def drain(self) -> None:
        """Let the messages in hand end and be settled; who takes too long is cut off and sent again later."""
        if self._tasks:
            _, slow = await asyncio.wait(self._tasks, timeout=PATIENCE)
            for task in slow:
                task.cancel()
        await self._settling.stop()

    async def _take_some(self) -> int:
        room = {name: lane.concurrency - self._in_hand[name] for name, lane in self._lanes.items()}
        due = await self._due([name for name, free in room.items() if free > 0])
        if not due:
            return 0
        now = self._clock.now()
        claimed: list[Claimed] = []
        async with self._sessions.begin() as session:
            for name in due:
                claimed += await outbox.claim(
                    session, [name], brakes.may_leave(), worker=self._peers.number, now=now, limit=room[name]
                )
            refused = [(one, "deadline passed") for one in claimed if one.deadline is not None and one.deadline <= now]
            late = {one.id for one, _ in refused}
            marketing = {one.gate_ref: one for one in claimed if one.gate_ref is not None and one.id not in late}
            decisions = await guards.recheck(session, self._gate(), marketing, now=now) if marketing else {}
            settlements = [_put_off(marketing[ref], no, now) for ref, no in decisions.items() if not no.is_allowed]
            out = late | {one.id for one in settlements}
            kf = [one for one in claimed if one.lane == lanes.KF and one.id not in out]
            refused += await window.take_slots(session, kf, now=now)
            for one, reason in refused:
                log.warning("sender.not_sent", extra={"outbox_id": one.id, "reason": reason})
                SENDS.labels(one.lane, "not_sent").inc()
            settlements += [Settlement(id=one.id, status=Status.DEAD, error=reason) for one, reason in refused]
            await outbox.settle(await session.connection(), settlements, worker=self._peers.number, now=now)
        out |= {one.id for one, _ in refused}
        for one in claimed:
            if one.id not in out:
                self._start(one)
        return len(claimed)

    async def _due(self, names: Sequence[str]) -> list[str]:
        """Which of these lanes have something that may leave; a look that writes nothing."""
        async with self._sessions.read() as session:
            rows = await session.scalars(
                sa.select(OutboxRow.lane)
                .where(
                    OutboxRow.status == Status.WAITING,
                    OutboxRow.lane.in_(names),
                    OutboxRow.not_before <= self._clock.now(),
                    brakes.may_leave(),
                )
                .distinct()
            )
            return list(rows)

    def _start(self, one: Claimed) -> None:
        self._in_hand[one.lane] += 1
        task = asyncio.create_task(self._carry(one), name=f"send:{one.lane}:{one.id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(self, one: Claimed) -> None:
        try:
            await self._settling.submit(await self._try(one))
        except Exception:  # the lease runs out and the message is taken again
            log.exception("sender.unsettled", extra={"outbox_id": one.id})
        finally:
            self._in_hand[one.lane] -= 1
            self._peers.tap("send")  # the next of this key may leave

    async def _try(self, one: Claimed) -> Outcome:
        try:
            sent = await self._lanes[one.lane].send(one)
        except DuplicateMsgid:  # an earlier try went through
            sent = Sent({"msgid": one.dedupe_key})
        except WecomError as error:
            return self._failed(one, error)
        except Exception as bug:
            log.exception("sender.failed", extra={"outbox_id": one.id, "lane": one.lane})
            ALERTS.labels("sender_bug").inc()
            return self._again_or_dead(one, f"{type(bug).__name__}: {bug}"[:500])
        SENDS.labels(one.lane, "sent").inc()
        SEND_SECONDS.labels(one.lane).observe((self._clock.now() - one.created_at).total_seconds())
        learnt = (*sent.learnt, *_touched(one, self._clock.now()))
        return Outcome(Settlement(id=one.id, status=Status.SENT, result=sent.result), learnt, sent.messages)

    def _failed(self, one: Claimed, error: WecomError) -> Outcome:
        SENDS.labels(one.lane, type(error).__name__).inc()
        log.warning("sender.refused", extra={"outbox_id": one.id, "lane": one.lane, "error": str(error)})
        if error.alert:
            ALERTS.labels(type(error).__name__).inc()
        if isinstance(error, RateLimited):
            later = self._clock.now() + timedelta(seconds=error.retry_after)
            return Outcome(
                Settlement(id=one.id, status=Status.WAITING, not_before=later, error=str(error), keep_attempt=True)
            )
        if isinstance(error, OutcomeUnknown):
            if one.repeatable:
                return self._again_or_dead(one, str(error))
            unknown = Settlement(id=one.id, status=Status.UNKNOWN, error=str(error))
            return Outcome(unknown, _touched(one, self._clock.now()))  # it may have reached them
        if error.retry in (Retry.BACKOFF, Retry.TOKEN):
            return self._again_or_dead(one, str(error))
        return Outcome(Settlement(id=one.id, status=Status.DEAD, error=str(error)), _lessons(one, error))

    def _again_or_dead(self, one: Claimed, why: str) -> Outcome:
        """Try again later; a message with a deadline as long as that allows, another a limited number of times."""
        later = outbox.retry_at(one.attempts, now=self._clock.now(), chance=self._chance)
        over = later >= one.deadline if one.deadline is not None else one.attempts >= TRIES
        if over:
            return Outcome(Settlement(id=one.id, status=Status.DEAD, error=why))
        return Outcome(Settlement(id=one.id, status=Status.WAITING, not_before=later, error=why))

    async def _write(self, connection: AsyncConnection, outcomes: Sequence[Outcome]) -> list[None]:
        now = self._clock.now()
        settlements = [one.settlement for one in outcomes]
        await outbox.settle(connection, settlements, worker=self._peers.number, now=now)
        for one in outcomes:
            for statement in one.learnt:
                await connection.execute(statement)
            await outbox.put(connection, one.messages, now=now)
        return [None] * len(outcomes)

    async def _keep_house(self) -> None:
        """Bury what is too late; take back what dead senders had in hand."""
        now = self._clock.now()
        if self._kept_house_at is not None and now - self._kept_house_at < HOUSEKEEPING:
            return
        self._kept_house_at = now
        async with self._sessions.begin() as session:
            await outbox.expire(session, now=now)
            await outbox.free(session, alive=await self._peers.alive(session), now=now)


def _put_off(one: Claimed, decision: Decision, now: datetime) -> Settlement:
    """What the gate holds waits until then, if that is in time; what it refuses is taken back."""
    log.info("sender.gate", extra={"outbox_id": one.id, "code": decision.code, "verdict": decision.verdict})
    SENDS.labels(one.lane, decision.code).inc()
    until = decision.until or now + ASK_AGAIN
    if decision.verdict is Verdict.REFUSED or (one.deadline is not None and one.deadline <= until):
        return Settlement(id=one.id, status=Status.CANCELLED, error=decision.code)
    return Settlement(id=one.id, status=Status.WAITING, not_before=until, error=decision.code, keep_attempt=True)


def _touched(one: Claimed, at: datetime) -> tuple[sa.Executable, ...]:
    """A marketing message to one member reached them; a broadcast reaches its members when staff confirm it."""
    return tuple(guards.sent(one.gate_ref, at=at)) if one.gate_ref is not None and one.member_id is not None else ()


def _lessons(one: Claimed, error: WecomError) -> tuple[sa.Executable, ...]:
    """A kf message refused at its first try used no slot, and a session that refuses is not where we thought."""
    if one.lane != lanes.KF:
        return ()
    learnt: list[sa.Executable] = []
    if one.attempts == 1:  # of an earlier try the outcome may have been unknown: then it may have been shown
        learnt.append(sa.delete(KfSend).where(KfSend.outbox_id == one.id))
    if isinstance(error, SessionRefusesSend | SessionEnded):
        conversation = one.body["conversation_id"]
        learnt.append(sa.update(Conversation).where(Conversation.id == conversation).values(service_state=None))
    return tuple(learnt)
