"""Posts into customer groups: a task an owner, the quota looked at twice, and sent only when WeCom says so."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa

from campaigns import group_posts, group_tasks, guards
from campaigns.definition import Message
from campaigns.group_posts import Progress, Target, Told
from campaigns.guard_rules import Gate, PlatformQuota
from campaigns.models.campaign import DeliveryStatus
from campaigns.models.gate import PassState, QuotaUse
from campaigns.models.group_post import GroupTask, PostStatus
from campaigns.staff_tasks import Copied, Look, Result, Task
from crm import groups
from crm.base import outbox
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.base.outbox import Settlement, Status
from crm.models.group import Group
from tests.campaigns.fixtures import OPEN_GATE
from tests.factories import Make

ONE_A_DAY = replace(OPEN_GATE, quota=PlatformQuota(per_day=1))
REF = "sale:1:announce"
WORDS = Told(messages=(Message(text="今晚八点秒杀"),), remind_after=(timedelta(hours=1),))


@dataclass
class Wecom:
    """The platform as far as group tasks go, with owners who tap when told."""

    sessions: Sessions
    clock: FrozenClock
    gate: Gate = OPEN_GATE
    tasks: dict[str, Task] = field(default_factory=dict)
    confirmed: dict[str, datetime] = field(default_factory=dict)
    taken_back: set[str] = field(default_factory=set)
    reminded: list[str] = field(default_factory=list)
    capped: set[str] = field(default_factory=set)  # chat_ids that WeCom shows no more

    async def assemble(self) -> None:
        made = True
        while made:
            async with self.sessions.begin() as session:
                made = await group_tasks.assemble(session, self.gate, now=self.clock.now())

    async def send(self) -> int:
        """The sender on the lane: the gate again, ask, settle. Returns how many tasks were asked for."""
        now, asked = self.clock.now(), 0
        async with self.sessions.begin() as session:
            await outbox.expire(session, now=now)
            claimed = await outbox.claim(session, [group_tasks.LANE], worker=1, now=now)
            decisions = await guards.recheck(session, self.gate, [str(one.gate_ref) for one in claimed], now=now)
        for one in claimed:
            goes = decisions[str(one.gate_ref)].is_allowed
            async with self.sessions.begin() as session:
                task = await group_tasks.ready(session, one.body["broadcast_id"], now=now) if goes else None
                if task is not None:
                    asked += 1
                    msgid = f"msg{len(self.tasks)}"
                    self.tasks[msgid] = task
                    for statement in group_tasks.asked(task, msgid, (), now=now):
                        await session.execute(statement)
                status = Status.SENT if goes else Status.CANCELLED
                settled = Settlement(id=one.id, status=status)
                await outbox.settle(await session.connection(), [settled], worker=1, now=now)
        return asked

    def tap(self, *which: str) -> None:
        for msgid in which or self.tasks:
            if msgid not in self.taken_back:
                self.confirmed.setdefault(msgid, self.clock.now())

    async def follow(self) -> None:
        now = self.clock.now()
        async with self.sessions.begin() as session:
            due = await group_tasks.claim_due(session, now=now)
        for task_id in due:
            async with self.sessions.begin() as session:
                found = await group_tasks.look(session, task_id, now=now)
                if found is None or found[0] is Look.NOTHING:
                    continue
                what, task = found
                if what is Look.FIND:
                    await group_tasks.never_was(session, task_id, now=now)
                    continue
                msgid, is_over = str(task.msgid), False
                if what is Look.REMIND and msgid not in self.confirmed:
                    self.reminded.append(msgid)
                    await group_tasks.reminded(session, task_id)
                if what is Look.TAKE_BACK:
                    is_over = True
                    self.taken_back |= {msgid} - self.confirmed.keys()
                results, at = self._results(msgid), self.confirmed.get(msgid)
                await group_tasks.take_results(session, task_id, results, confirmed_at=at, is_over=is_over, now=now)
        async with self.sessions.begin() as session:
            await group_posts.finish(session, now=now)

    def _results(self, msgid: str) -> list[Result]:
        at = self.confirmed.get(msgid)
        chats = self.tasks[msgid].recipients if at is not None else ()
        return [Result(one, Copied.SENT, at) for one in chats if one not in self.capped]

    async def round(self, **passes: float) -> None:
        if passes:
            self.clock.advance(**passes)
        async with self.sessions.begin() as session:
            await group_posts.watch(session, now=self.clock.now())
        await self.assemble()
        await self.send()
        await self.follow()

    async def progress(self, ref: str = REF) -> Progress:
        async with self.sessions.read() as session:
            found = await group_posts.progress(session, ref)
        assert found is not None
        return found

    async def statuses(self, ref: str = REF) -> dict[int, tuple[DeliveryStatus, str | None]]:
        return {one.group_id: (one.status, one.reason) for one in (await self.progress(ref)).groups}


@pytest.fixture
def wecom(sessions: Sessions, clock: FrozenClock) -> Wecom:
    return Wecom(sessions, clock)


async def posted(wecom: Wecom, targets: Sequence[Target], told: Told = WORDS, ref: str = REF) -> int | None:
    now = wecom.clock.now()
    async with wecom.sessions.begin() as session:
        return await group_posts.put(session, ref, "周四秒杀", told, targets, due_at=now, now=now)


async def two_owners(make: Make) -> tuple[list[Group], list[Group]]:
    amy, bob = await make.staff("amy"), await make.staff("bob")
    return [await make.group(amy) for _ in range(2)], [await make.group(bob)]


async def test_an_owner_gets_one_task_and_sent_is_what_wecom_says(wecom: Wecom, make: Make) -> None:
    mine, theirs = await two_owners(make)
    every = [*mine, *theirs]
    assert await posted(wecom, [Target(one.id) for one in every]) is not None
    assert await posted(wecom, [Target(one.id) for one in every]) is None, "one post under one reference"
    await wecom.round()
    assert sorted((one.sender, len(one.recipients)) for one in wecom.tasks.values()) == [("amy", 2), ("bob", 1)]
    known = await wecom.progress()
    assert (known.sent, len(known.waiting)) == (0, 3), "asked is not sent"
    wecom.tap(*(msgid for msgid, task in wecom.tasks.items() if task.sender == "amy"))
    await wecom.round(minutes=2)
    known = await wecom.progress()
    assert (known.sent, [one.userid for one in known.waiting], known.status) == (2, ["bob"], PostStatus.OPEN)
    await wecom.round(minutes=61)
    assert len(wecom.reminded) == 1
    await wecom.round(hours=1)
    async with wecom.sessions.begin() as session:
        await group_posts.watch(session, now=wecom.clock.now())
    wecom.tap()
    await wecom.round(minutes=30)
    known = await wecom.progress()
    assert (known.sent, known.status) == (3, PostStatus.DONE)
    async with wecom.sessions.read() as session:
        uses = (await session.scalars(sa.select(QuotaUse))).all()
    assert {(one.group_id, one.state) for one in uses} == {(one.id, PassState.SENT) for one in every}


async def test_groups_with_links_of_their_own_have_tasks_of_their_own(wecom: Wecom, make: Make) -> None:
    mine, _ = await two_owners(make)
    await posted(wecom, [Target(one.id, url=f"https://shop.example/s?g={one.id}") for one in mine])
    await wecom.round()
    said = {task.recipients[0]: task.message.text for task in wecom.tasks.values()}
    assert said == {one.chat_id: f"今晚八点秒杀\nhttps://shop.example/s?g={one.id}" for one in mine}


async def test_a_group_that_had_todays_waits_or_is_left_out_when_that_is_too_late(wecom: Wecom, make: Make) -> None:
    wecom.gate = ONE_A_DAY
    mine, theirs = await two_owners(make)
    await posted(wecom, [Target(mine[0].id)], ref="run:1")
    await wecom.round()
    now = wecom.clock.now()
    async with wecom.sessions.read() as session:
        judged = await guards.judge_groups(session, wecom.gate, [one.id for one in mine], now=now)
    assert [judged[one.id].code for one in mine] == ["gate.quota", ""]
    await posted(wecom, [Target(one.id) for one in mine], replace_until(WORDS, now + timedelta(hours=3)), "sale:1")
    await posted(wecom, [Target(one.id) for one in (mine[0], *theirs)], ref="sale:2")
    await wecom.round()
    assert (await wecom.statuses("sale:1"))[mine[0].id] == (DeliveryStatus.SKIPPED, "gate.quota")
    assert (await wecom.statuses("sale:2"))[mine[0].id] == (DeliveryStatus.HELD, "gate.quota")
    wecom.tap()
    for _ in range(25):
        await wecom.round(hours=1)
    assert (await wecom.statuses("sale:2"))[mine[0].id][0] is DeliveryStatus.ASKED, "the next day it goes out"


def replace_until(told: Told, until: datetime) -> Told:
    return told.model_copy(update={"until": until})


async def test_the_quota_is_looked_at_again_when_it_leaves(wecom: Wecom, make: Make) -> None:
    mine, _ = await two_owners(make)
    await posted(wecom, [Target(one.id) for one in mine])
    await wecom.assemble()
    async with wecom.sessions.begin() as session:  # a colleague sent one by hand meanwhile, and we hear of it
        session.add(QuotaUse(group_id=mine[0].id, ref="by hand", state=PassState.SENT, at=wecom.clock.now()))
    wecom.gate = ONE_A_DAY
    assert await wecom.send() == 1
    assert [task.recipients for task in wecom.tasks.values()] == [(mine[1].chat_id,)]


async def test_what_no_owner_confirmed_in_time_is_taken_back(wecom: Wecom, make: Make) -> None:
    mine, theirs = await two_owners(make)
    until = wecom.clock.now() + timedelta(hours=2)
    await posted(wecom, [Target(one.id) for one in (*mine, *theirs)], replace_until(WORDS, until))
    await wecom.round()
    wecom.tap(*(msgid for msgid, task in wecom.tasks.items() if task.sender == "bob"))
    for _ in range(14):
        await wecom.round(minutes=9)
    stands = await wecom.statuses()
    assert stands[theirs[0].id] == (DeliveryStatus.SENT, None)
    assert {stands[one.id] for one in mine} == {(DeliveryStatus.FAILED, "not_confirmed")}
    assert len(wecom.taken_back) == 1
    assert (await wecom.progress()).status is PostStatus.DONE


async def test_a_stop_takes_back_what_can_be_taken_back(wecom: Wecom, make: Make) -> None:
    mine, theirs = await two_owners(make)
    await posted(wecom, [Target(one.id) for one in mine])
    await wecom.round()
    await posted(wecom, [Target(one.id) for one in theirs], ref="run:2")
    await wecom.assemble()
    async with wecom.sessions.begin() as session:
        for ref in (REF, "run:2"):
            assert await group_posts.stop(session, ref, PostStatus.CANCELLED, now=wecom.clock.now())
            assert not await group_posts.stop(session, ref, PostStatus.CANCELLED, now=wecom.clock.now())
    await wecom.round(minutes=1)
    assert await wecom.statuses() == {one.id: (DeliveryStatus.FAILED, "cancelled") for one in mine}
    assert await wecom.statuses("run:2") == {theirs[0].id: (DeliveryStatus.SKIPPED, "cancelled")}
    assert (len(wecom.tasks), len(wecom.taken_back)) == (1, 1), "what had not left never left"


async def test_a_pause_holds_what_has_not_left_and_it_goes_on_later(wecom: Wecom, make: Make) -> None:
    mine, _ = await two_owners(make)
    await posted(wecom, [Target(one.id) for one in mine])
    await wecom.assemble()
    async with wecom.sessions.begin() as session:
        await group_posts.stop(session, REF, PostStatus.PAUSED, now=wecom.clock.now())
    await wecom.round(minutes=1)
    assert not wecom.tasks
    async with wecom.sessions.begin() as session:
        assert await group_posts.go_on(session, REF, now=wecom.clock.now())
    await wecom.round(minutes=1)
    assert len(wecom.tasks) == 1


async def test_a_copy_of_yesterdays_database_asks_first(wecom: Wecom, make: Make) -> None:
    mine, _ = await two_owners(make)
    await posted(wecom, [Target(one.id) for one in mine])
    await wecom.assemble()
    await wecom.round(hours=20)
    assert not wecom.tasks
    assert (await wecom.progress()).status is PostStatus.ASKS
    async with wecom.sessions.begin() as session:
        await group_posts.go_on(session, REF, now=wecom.clock.now())
    await wecom.round(minutes=1)
    assert len(wecom.tasks) == 1


async def test_a_group_that_is_not_listed_after_the_tap_did_not_get_it(wecom: Wecom, make: Make) -> None:
    mine, _ = await two_owners(make)
    wecom.capped = {mine[0].chat_id}
    await posted(wecom, [Target(one.id) for one in mine])
    await wecom.round()
    wecom.tap()
    for _ in range(10):
        await wecom.round(minutes=5)
    assert await wecom.statuses() == {
        mine[0].id: (DeliveryStatus.FAILED, "not_listed"), mine[1].id: (DeliveryStatus.SENT, None),
    }  # fmt: skip


async def test_a_new_owner_is_asked_instead_and_a_dissolved_group_is_left_out(
    wecom: Wecom, make: Make, sessions: Sessions
) -> None:
    mine, theirs = await two_owners(make)
    await posted(wecom, [Target(one.id) for one in mine])
    await wecom.assemble()
    now = wecom.clock.now()
    async with sessions.begin() as session:
        await session.execute(sa.update(Group).where(Group.id == mine[0].id).values(owner_id=theirs[0].owner_id))
        await groups.dismiss(session, mine[1].chat_id, at=now, now=now)
    await wecom.round()
    await wecom.round(minutes=1)
    assert [(task.sender, task.recipients) for task in wecom.tasks.values()] == [("bob", (mine[0].chat_id,))]
    assert (await wecom.statuses())[mine[1].id] == (DeliveryStatus.SKIPPED, "gate.group_gone")


async def test_two_workers_make_one_task(wecom: Wecom, make: Make, sessions: Sessions) -> None:
    mine, _ = await two_owners(make)
    await posted(wecom, [Target(one.id) for one in mine])
    async with sessions.begin() as first:
        assert await group_tasks.assemble(first, OPEN_GATE, now=wecom.clock.now())
        if sessions.dialect == "postgresql":
            async with sessions.begin() as second:
                assert not await group_tasks.assemble(second, OPEN_GATE, now=wecom.clock.now())
    await wecom.assemble()
    async with sessions.read() as session:
        assert await session.scalar(sa.select(sa.func.count()).select_from(GroupTask)) == 1
