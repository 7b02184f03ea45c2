"""Campaigns for tests: a shop of members with staff, definitions in a line, and a platform in memory."""

from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from typing import Any

import sqlalchemy as sa

from campaigns import broadcasts, definition, engine, firing, guards, sequence_news, sequences, ticks
from campaigns.definition import Definition
from campaigns.draining import NoKf
from campaigns.engine import Review
from campaigns.guard_rules import Gate, PlatformQuota, QuietHours
from campaigns.models.campaign import Broadcast, Campaign, Copy, Delivery, DeliveryStatus, Run
from campaigns.staff_tasks import Copied, Look, Result, Task
from crm.base import outbox
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.base.outbox import OutboxRow, Settlement, Status
from tests.factories import Make

EVERYBODY = {"is": "lifetime", "orders": {"least": 0}}
OPEN_GATE = Gate(quiet=None, caps=(), quota=PlatformQuota(None, None, None))
NIGHT = QuietHours(time(22), time(8))
ANY_SIZE = Review(above_members=10**9, above_fen=10**9)


def told(**more: Any) -> Definition:
    """A one-off of 企业群发 to everybody, due in a minute of the frozen clock, unless told otherwise."""
    usual = {
        "kind": "one_off",
        "audience": EVERYBODY,
        "starts_at": "2026-03-09T10:01:00+08:00",
        "messages": [{"text": "满 199 减 30"}],
        "channels": ["broadcast"],
    }
    return definition.read({name: value for name, value in {**usual, **more}.items() if value is not None})


async def people(make: Make, count: int, *, staff: int = 1) -> list[int]:
    """Members who are contacts of one of so many staff, in turn; their ids."""
    team = [await make.staff() for _ in range(staff)]
    return [(await make.contact(team[number % staff])).member_id for number in range(count)]


async def scheduled(sessions: Sessions, clock: FrozenClock, name: str = "周末满减", **more: Any) -> Campaign:
    async with sessions.begin() as session:
        made = await engine.create(session, name, told(**more), by="amy", now=clock.now())
        return await engine.submit(session, made.id, review=ANY_SIZE, now=clock.now())


@dataclass
class Platform:
    """WeCom as far as a broadcast goes: takes tasks, and lets a test play the staff."""

    sessions: Sessions
    clock: FrozenClock
    gate: Gate = OPEN_GATE
    tasks: dict[str, Task] = field(default_factory=dict)
    confirmed: dict[str, datetime] = field(default_factory=dict)
    taken_back: set[str] = field(default_factory=set)
    refuses: set[str] = field(default_factory=set)  # external_userids that get nothing

    async def tick(self) -> int:
        """All work that is due, as one worker does it."""
        steps = 0
        async with self.sessions.begin() as session:
            await firing.fire_due(session, now=self.clock.now())
        for step in (self.step_watch, self.step_hear, self.step_plan, self.step_advance, self.step_drain):
            while await step():
                steps += step != self.step_hear  # what others tell is heard, and is no work of a campaign's
        async with self.sessions.read() as session:
            run_ids = await ticks.sending(session)
        for run_id in run_ids:
            while await self.step_settle(run_id):
                steps += 1
        return steps

    async def step_watch(self) -> bool:
        async with self.sessions.begin() as session:
            await ticks.watch(session, now=self.clock.now())
        return False

    async def step_plan(self) -> bool:
        async with self.sessions.begin() as session:
            return await ticks.plan(session, now=self.clock.now())

    async def step_hear(self) -> bool:
        async with self.sessions.begin() as session:
            return bool(await sequence_news.listen(session, now=self.clock.now()))

    async def step_advance(self) -> bool:
        async with self.sessions.begin() as session:
            return await sequences.advance(session, now=self.clock.now())

    async def step_drain(self) -> bool:
        async with self.sessions.begin() as session:
            return await ticks.drain(session, self.gate, NoKf(), now=self.clock.now())

    async def step_settle(self, run_id: int) -> bool:
        async with self.sessions.begin() as session:
            return await ticks.settle(session, run_id, self.gate, now=self.clock.now())

    async def send(self, *, loses_answer: bool = False) -> int:
        """What the sender does with the lane: the gate again, ask the platform, settle. Returns how many were asked.

        loses_answer: the platform takes the task and the process dies before it hears so.
        """
        now = self.clock.now()
        async with self.sessions.begin() as session:
            await outbox.expire(session, now=now)
            claimed = await outbox.claim(session, [broadcasts.LANE], worker=1, now=now)
            decisions = await guards.recheck(session, self.gate, [str(one.gate_ref) for one in claimed], now=now)
        asked = 0
        for one in claimed:
            statements: list[sa.Update] = []
            status = Status.SENT if decisions[str(one.gate_ref)].is_allowed else Status.CANCELLED
            if status is Status.SENT:
                async with self.sessions.begin() as session:
                    task = await broadcasts.ready(session, one.body["broadcast_id"], now=now)
                if task is not None:
                    msgid = f"msg{len(self.tasks)}"
                    self.tasks[msgid] = task
                    asked += 1
                    statements = broadcasts.asked(task, msgid, [], now=now)
            if loses_answer:
                statements, status = [], Status.UNKNOWN
            async with self.sessions.begin() as session:
                settled = Settlement(id=one.id, status=status, error=decisions[str(one.gate_ref)].code or None)
                await outbox.settle(await session.connection(), [settled], worker=1, now=now)
                for statement in statements:
                    await session.execute(statement)
        return asked

    def confirm(self, *senders: str) -> None:
        """These members of staff tap 发送, or all."""
        for msgid, task in self.tasks.items():
            if (not senders or task.sender in senders) and msgid not in self.taken_back:
                self.confirmed.setdefault(msgid, self.clock.now())

    async def poll(self) -> None:
        """Look at every open broadcast once, as the edge does."""
        now = self.clock.now()
        async with self.sessions.begin() as session:
            await session.execute(sa.update(Broadcast).where(Broadcast.poll_at.is_not(None)).values(poll_at=now))
            due = await broadcasts.claim_due(session, now=now)
        for broadcast_id in due:
            async with self.sessions.begin() as session:
                found = await broadcasts.look(session, broadcast_id, now=now)
            if found is None or found[0] is Look.NOTHING:
                continue
            what, task = found
            if what is Look.FIND:
                await self._find(task)
                continue
            msgid = str(task.msgid)
            if what is Look.TAKE_BACK and msgid not in self.confirmed:
                self.taken_back.add(msgid)
            async with self.sessions.begin() as session:
                await broadcasts.take_results(
                    session, broadcast_id, self.results(msgid), confirmed_at=self.confirmed.get(msgid),
                    is_over=what is Look.TAKE_BACK, now=now,
                )  # fmt: skip

    async def _find(self, task: Task) -> None:
        for msgid, known in self.tasks.items():
            if set(known.recipients) & set(task.recipients):
                async with self.sessions.begin() as session:
                    if await broadcasts.is_known(session, msgid):
                        continue
                    for statement in broadcasts.asked(task, msgid, [], now=self.clock.now()):
                        await session.execute(statement)
                return
        async with self.sessions.begin() as session:
            await broadcasts.never_was(session, task.id, now=self.clock.now())

    def results(self, msgid: str) -> list[Result]:
        at = self.confirmed.get(msgid)
        if at is None:
            return [Result(one, Copied.NOT_YET, None) for one in self.tasks[msgid].recipients]
        return [
            Result(one, Copied.NO_LONGER_CONTACT, None) if one in self.refuses else Result(one, Copied.SENT, at)
            for one in self.tasks[msgid].recipients
        ]

    def received(self) -> list[str]:
        """Who was sent something, once for each message they got."""
        return [one.recipient for msgid in self.confirmed for one in self.results(msgid) if one.copied is Copied.SENT]


async def stands(sessions: Sessions) -> dict[int, DeliveryStatus]:
    """Where each member's delivery is; of one run."""
    async with sessions.read() as session:
        rows = await session.execute(sa.select(Delivery.member_id, Delivery.status))
        return {row.member_id: row.status for row in rows}


async def reasons(sessions: Sessions) -> dict[int, str | None]:
    async with sessions.read() as session:
        rows = await session.execute(sa.select(Delivery.member_id, Delivery.reason))
        return {row.member_id: row.reason for row in rows}


async def the_run(sessions: Sessions) -> Run:
    async with sessions.read() as session:
        return (await session.scalars(sa.select(Run).order_by(Run.id.desc()))).first()  # type: ignore[return-value]


async def customers(sessions: Sessions) -> dict[str, int]:
    """Member by external_userid of the copies that were made."""
    async with sessions.read() as session:
        rows = await session.execute(sa.select(Copy.external_userid, Copy.member_id))
        return {row.external_userid: row.member_id for row in rows}


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


__all__ = ["NIGHT", "OutboxRow"]
