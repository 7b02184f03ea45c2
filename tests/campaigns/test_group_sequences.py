"""群 SOP: each group goes through the steps from the day it came in, each step once, whatever happens meanwhile."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from campaigns import definition, engine, firing, group_runs, group_sequences, playbooks, reports, ticks
from campaigns.definition import CampaignWrong, Definition
from campaigns.models.campaign import Campaign, CampaignStatus, DeliveryStatus, Run, RunStatus
from campaigns.models.group_post import GroupCopy, GroupPost, GroupTask
from campaigns.models.sequence import EnrolmentStatus, GroupEnrolment, GroupEnrolmentStep
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.models.group import Group
from tests.campaigns.fixtures import ANY_SIZE, OPEN_GATE
from tests.campaigns.test_group_posts import Wecom
from tests.factories import Make

STEPS = [
    {"name": "欢迎", "day": 0, "messages": [{"text": "欢迎进群"}]},
    {"name": "次日", "day": 1, "at": "10:00", "messages": [{"text": "今天的福利"}]},
    {"name": "第三天", "day": 3, "at": "10:00", "messages": [{"text": "群里常见的问题"}]},
]


def told(**more: Any) -> Definition:
    usual = {
        "kind": "steps",
        "groups": {"all": True},
        "channels": ["broadcast"],
        "steps": STEPS,
        "confirm_within": "4h",
    }
    return definition.read({name: value for name, value in {**usual, **more}.items() if value is not None})


class Street:
    """A shop whose owners tap, or do not; one worker's round at a time."""

    def __init__(self, sessions: Sessions, clock: FrozenClock) -> None:
        self.sessions, self.clock, self.wecom = sessions, clock, Wecom(sessions, clock)
        self.lazy: set[str] = set()  # owners who do not tap

    async def start(self, **more: Any) -> Campaign:
        async with self.sessions.begin() as session:
            made = await engine.create(session, "新群", told(**more), by="amy", now=self.clock.now())
            return await engine.submit(session, made.id, review=ANY_SIZE, now=self.clock.now())

    async def work(self) -> None:
        now = self.clock.now()
        async with self.sessions.begin() as session:
            await firing.fire_due(session, now=now)
        async with self.sessions.begin() as session:
            await group_sequences.enter(session, now=now)
        for step in (group_sequences.advance, ticks.plan):
            more = True
            while more:
                async with self.sessions.begin() as session:
                    more = bool(await step(session, now=now))
        await self.wecom.round()
        self.wecom.tap(*(msgid for msgid, task in self.wecom.tasks.items() if task.sender not in self.lazy))
        async with self.sessions.read() as session:
            run_ids = await ticks.sending(session)
        for run_id in run_ids:
            async with self.sessions.begin() as session:
                await ticks.settle(session, run_id, OPEN_GATE, now=now)

    async def days(self, count: float) -> None:
        for _ in range(int(count * 12)):
            self.clock.advance(hours=2)
            await self.work()

    async def story(self) -> dict[int, list[tuple[str, str]]]:
        """Of each group what it was told, and how that ended."""
        async with self.sessions.read() as session:
            rows = await session.execute(
                sa.select(GroupCopy.group_id, GroupPost.told, GroupCopy.status)
                .join(GroupPost, GroupPost.id == GroupCopy.post_id)
                .order_by(GroupPost.id)
            )
            found: dict[int, list[tuple[str, str]]] = {}
            for group_id, said, status in rows:
                found.setdefault(group_id, []).append((said["messages"][0]["text"], status.value))
        return found

    async def stands(self) -> dict[int, tuple[str, str]]:
        async with self.sessions.read() as session:
            rows = await session.scalars(sa.select(GroupEnrolment))
            return {one.group_id: (one.status.value, one.because) for one in rows}


@pytest.fixture
def street(sessions: Sessions, clock: FrozenClock) -> Street:
    return Street(sessions, clock)


SENT = DeliveryStatus.SENT.value
ALL = [("欢迎进群", SENT), ("今天的福利", SENT), ("群里常见的问题", SENT)]


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"every": "0 10 * * *"}, "一个群只走一遍"),
        ({"goal": [{"event": "OrderPaid"}]}, "一个群只走一遍"),
        ({"channels": ["kf", "broadcast"]}, "企业群发"),
        ({"holdout_percent": 10}, "holdout_percent"),
        ({"steps": [{**STEPS[0], "only": {"is": "lifetime", "orders": {"least": 1}}}]}, "群不是一个人"),
        ({"steps": [{**STEPS[0], "day": None, "wait": {"event": "OrderPaid", "within": "1d"}}]}, "群不是一个人"),
        ({"steps": [STEPS[1], STEPS[0]]}, "从小到大"),
        ({"groups": {"made_since": "2026-03-01"}}, "all: true"),
    ],
)
def test_what_the_steps_of_a_group_cannot_have(more: dict[str, Any], reason: str) -> None:
    steps = [{key: value for key, value in step.items() if value is not None} for step in more.get("steps", STEPS)]
    with pytest.raises(CampaignWrong, match=reason):
        told(**{**more, "steps": steps})


def test_it_reads_what_it_wrote() -> None:
    made = told(groups={"names": ["猫*"], "made_since": "2026-03-01T00:00:00+08:00"})
    assert definition.read(definition.write(made)) == made and made.listens
    step = definition.of_group_step(made, 1, ["wr1"], at=FrozenClock().now())
    assert definition.read(definition.write(step)) == step and step.messages[0].text == "今天的福利"


async def test_each_group_has_its_days_and_each_step_once(street: Street, make: Make) -> None:
    amy, bob = await make.staff("amy"), await make.staff("bob")
    cats, dogs = await make.group(amy), await make.group(bob)
    await street.start()
    street.lazy = {"bob"}
    await street.work()
    await street.days(2)
    later = await make.group(amy)  # on the third day of the others
    await street.days(2.5)
    story = await street.story()
    assert story[cats.id] == ALL
    lost = DeliveryStatus.FAILED.value
    assert story[dogs.id] == [(words, lost) for words, _ in ALL], "what bob never sent ends, and the next step comes"
    assert story[later.id] == ALL[:2]
    await street.days(2)
    assert (await street.story())[later.id] == ALL
    assert set((await street.stands()).values()) == {(EnrolmentStatus.FINISHED.value, "")}
    async with make.sessions.read() as session:
        runs = (await session.scalars(sa.select(Run))).all()
        assert {one.status for one in runs} == {RunStatus.FINISHED}
        assert (await session.scalars(sa.select(Campaign.status))).one() is CampaignStatus.RUNNING, "more may come"


async def test_only_groups_made_from_a_day_on(street: Street, make: Make) -> None:
    amy = await make.staff("amy")
    old, new = await make.group(amy), await make.group(amy)
    now = make.clock.now()
    async with make.sessions.begin() as session:
        (await session.get_one(Group, old.id)).created_at = now - timedelta(days=9)
        (await session.get_one(Group, new.id)).created_at = now - timedelta(hours=1)
    await street.start(groups={"all": True, "made_since": (now - timedelta(days=1)).isoformat()})
    await street.work()
    assert set(await street.stands()) == {new.id}


async def test_the_playbook_of_a_new_group(street: Street, make: Make) -> None:
    (book,) = [one for one in playbooks.get("新群七天").files() if one.kind is None]
    group = await make.group(await make.staff("amy"))
    async with make.sessions.begin() as session:
        (await session.get_one(Group, group.id)).created_at = make.clock.now()
        made = await engine.create(session, book.name, book.told, by="amy", now=make.clock.now())
        await engine.submit(session, made.id, review=ANY_SIZE, now=make.clock.now())
    await street.work()
    await street.days(8)
    said = [step.messages[0].text for step in book.told.steps]
    assert (await street.story())[group.id] == [(text, SENT) for text in said] and len(said) == 4
    async with make.sessions.read() as session:
        way = await reports.way(session, made.id, of_groups=True)
    assert way.stands == [(EnrolmentStatus.FINISHED, "", 1)] and way.steps == [(step, 1, 1) for step in range(4)]


async def test_a_dismissed_group_leaves_and_one_no_longer_meant_too(street: Street, make: Make) -> None:
    amy = await make.staff("amy")
    gone, renamed, stays = [await make.group(amy) for _ in range(3)]
    async with make.sessions.begin() as session:
        for one in (gone, renamed, stays):
            (await session.get_one(Group, one.id)).name = f"猫 {one.id}"
    await street.start(groups={"names": ["猫*"]})
    await street.work()
    async with make.sessions.begin() as session:
        (await session.get_one(Group, gone.id)).dismissed_at = make.clock.now()
        (await session.get_one(Group, renamed.id)).name = "狗"
    await street.days(5)
    stands = await street.stands()
    assert (stands[gone.id], stands[renamed.id]) == (("left", "gate.group_gone"), ("left", "left_audience"))
    assert (await street.story())[stays.id] == ALL


async def test_a_step_that_slept_asks_and_one_answer_goes_for_all(street: Street, make: Make) -> None:
    amy = await make.staff("amy")
    groups = [await make.group(amy) for _ in range(2)]
    await street.start()
    await street.days(0.5)
    make.clock.advance(days=2)  # nobody was here
    await street.work()
    async with make.sessions.read() as session:
        (asks,) = (await session.scalars(sa.select(Run).where(Run.status == RunStatus.ASKS))).all()
    await street.days(0.5)
    assert {len(one) for one in (await street.story()).values()} == {1}, "nothing leaves by itself"
    async with make.sessions.begin() as session:
        await engine.answer(session, asks.id, fires=True, now=make.clock.now())
    await street.days(4)
    assert await street.story() == {one.id: ALL for one in groups}


async def test_what_is_late_can_be_left_out(street: Street, make: Make) -> None:
    group = await make.group(await make.staff("amy"))
    await street.start(late="skip")
    await street.days(0.5)
    make.clock.advance(days=1, hours=12)
    await street.days(4)
    assert (await street.story())[group.id] == [ALL[0], ALL[2]]
    async with make.sessions.read() as session:
        reasons = (await session.scalars(sa.select(GroupEnrolmentStep.reason).order_by(GroupEnrolmentStep.step))).all()
    assert reasons == [None, "late", None]


async def test_who_is_in_it_goes_on_as_it_was_and_a_pause_holds_everybody(street: Street, make: Make) -> None:
    amy = await make.staff("amy")
    first = await make.group(amy)
    campaign = await street.start()
    await street.days(0.5)
    now = make.clock.now
    async with make.sessions.begin() as session:
        await engine.pause(session, campaign.id, because="改词", by="amy", now=now())
        changed = told(steps=[{**STEPS[0], "messages": [{"text": "新的欢迎"}]}])
        await engine.change(session, campaign.id, changed, by="amy", now=now())
        await engine.submit(session, campaign.id, review=ANY_SIZE, now=now())
    second = await make.group(amy)
    await street.days(4)
    story = await street.story()
    assert story[first.id] == ALL and story[second.id] == [("新的欢迎", SENT)]
    async with make.sessions.begin() as session:
        await engine.cancel(session, campaign.id, now=now())
    third = await make.group(amy)
    await street.days(0.5)
    assert third.id not in await street.story()


async def test_two_workers_post_each_step_once(street: Street, make: Make) -> None:
    """Rounds of two workers at once; a step is a run, so twice the same group would be two copies."""
    amy = await make.staff("amy")
    groups = [await make.group(amy) for _ in range(4)]
    await street.start()
    await street.work()

    async def worker() -> None:
        for step in (group_sequences.enter, group_sequences.advance, group_sequences.advance):
            async with make.sessions.begin() as session:
                await step(session, now=make.clock.now())

    for _ in range(9):
        make.clock.advance(hours=12)
        ended = await asyncio.gather(worker(), worker(), worker(), return_exceptions=True)
        assert [one for one in ended if one is not None] == []
        await street.work()
    for _ in range(3):
        make.clock.advance(hours=1)
        await street.work()
    story = await street.story()
    assert {group.id: [words for words, _ in story[group.id]] for group in groups} == {
        group.id: [words for words, _ in ALL] for group in groups
    }
    async with make.sessions.read() as session:
        refs = list(await session.scalars(sa.select(GroupPost.ref)))
        tasks = await session.scalar(sa.select(sa.func.count()).select_from(GroupTask))
        assert len(refs) == 3 == tasks and refs == [
            group_runs.ref(one) for one in await session.scalars(sa.select(Run.id))
        ]
