"""Community tasks: answered once a person, graded, rewarded once for their cause, and never above the budget."""

from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.privacy import EVERYTHING
from campaigns import files, offers
from campaigns.engine import Review as Reviewing
from campaigns.files import Change
from campaigns.guard_rules import Gate
from campaigns.models.offer import Coupon
from campaigns.models.task import CommunityTask, TaskEntry, TaskReward
from campaigns.tasks import definition, entries, progress, store
from campaigns.tasks.entries import AlreadyDone, Answered, ChoiceWrong, TaskChanged
from campaigns.tasks.store import RewardUnknown, TaskFixed, TaskNotOpen
from crm import check_ins, loyalty_rules, merges, points, privacy
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.base.errors import ShopError
from crm.holds import PersonErased
from crm.models.loyalty import PointEntry
from crm.models.member import Member
from crm.point_rules import PointRules
from crm.privacy import Reason
from tests.factories import Make

QUIZ = {
    "task": "quiz",
    "title": "养猫小测",
    "questions": [
        {"ask": "猫能吃巧克力吗", "options": ["能", "不能"], "answer": 2, "why": "可可碱对猫有毒。"},
        {"ask": "猫一天睡多久", "options": ["4 小时", "8 小时", "12 小时以上"], "answer": 3},
    ],
    "pass_at": 2,
    "reward": {"points": 20},
    "most_rewards": 3,
    "budget_points": 60,
}
VOTE = {"task": "vote", "title": "新口味", "ask": "下一款出什么口味", "options": ["三文鱼", "鸭肉", "兔肉"]}


async def put(sessions: Sessions, clock: FrozenClock, key: str = "测", **told: Any) -> CommunityTask:
    told = {"starts_at": clock.now(), **told}
    async with sessions.begin() as session:
        return await store.put(session, key, definition.read(told), now=clock.now())


async def answer(
    sessions: Sessions,
    clock: FrozenClock,
    member: Member | int,
    choices: list[int],
    *,
    key: str = "测",
    version: int = 1,
) -> Answered:
    async with sessions.begin() as session:
        return await entries.answer(session, key, member.id, choices, version=version, channel="chat", now=clock.now())


@pytest.fixture(autouse=True)
async def _programme(sessions: Sessions, clock: FrozenClock) -> None:
    async with sessions.begin() as session:
        await loyalty_rules.set_points(session, PointRules(), now=clock.now())


async def test_a_quiz_is_graded_and_rewarded_once(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    await put(sessions, clock, **QUIZ)
    one, other = await make.member(), await make.member()
    right, wrong = await answer(sessions, clock, one, [2, 3]), await answer(sessions, clock, other, [1, 3])
    assert (right.entry.score, right.reward and right.reward.points) == (2, 20)
    assert (wrong.entry.score, wrong.entry.is_passed, wrong.reward) == (1, False, None)
    with pytest.raises(AlreadyDone):
        await answer(sessions, clock, other, [2, 3])  # no second try
    async with sessions.read() as session:
        assert (await points.balance_of(session, one.id, now=clock.now())).active == 20
        assert (await points.balance_of(session, other.id, now=clock.now())).active == 0
        (row,) = await session.scalars(sa.select(PointEntry))
        assert (row.cause_kind, row.facts["task"]) == ("task", "测")


async def test_answers_after_the_end_or_to_an_older_question_do_not_count(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    ends = clock.now() + timedelta(hours=1)
    await put(sessions, clock, **QUIZ, ends_at=ends)
    member = await make.member()
    for bad in ([2], [2, 4], [0, 1], [2, 3, 1]):
        with pytest.raises(ChoiceWrong):
            await answer(sessions, clock, member, bad)
    edited = {**QUIZ, "questions": [QUIZ["questions"][1], QUIZ["questions"][0]]}  # type: ignore[index]
    task = await put(sessions, clock, **edited, ends_at=ends)
    assert task.version == 2
    with pytest.raises(TaskChanged):
        await answer(sessions, clock, member, [2, 3], version=1)
    clock.advance(hours=1)
    with pytest.raises(TaskNotOpen):
        await answer(sessions, clock, member, [3, 2], version=2)
    async with sessions.read() as session:
        assert (await store.get(session, "测")).entered == 0
        assert not (await session.scalars(sa.select(TaskEntry))).all()


async def test_a_quiz_in_use_keeps_its_questions(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    await put(sessions, clock, **QUIZ)
    starts = clock.now()
    await answer(sessions, clock, await make.member(), [2, 3])
    changed = {**QUIZ, "starts_at": starts, "questions": QUIZ["questions"][:1], "pass_at": 1}  # type: ignore[index]
    with pytest.raises(TaskFixed) as refused:
        await put(sessions, clock, **changed)
    assert set(refused.value.fields) == {"questions", "pass_at"}
    with pytest.raises(TaskFixed) as refused:
        await put(sessions, clock, **{**QUIZ, "starts_at": starts, "most_rewards": 0})
    assert refused.value.fields == ("most_rewards",)
    task = await put(sessions, clock, **{**QUIZ, "starts_at": starts, "title": "养猫小测（改了名字）"})
    assert (task.title, task.version) == ("养猫小测（改了名字）", 1)


async def test_a_vote_is_one_a_person_also_when_two_become_one(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    task = await put(sessions, clock, **VOTE)
    one, other, third = [await make.member() for _ in range(3)]
    await answer(sessions, clock, one, [1])
    await answer(sessions, clock, other, [2])
    await answer(sessions, clock, third, [2])

    async def counted() -> list[int]:
        async with sessions.read() as session:
            return [line.votes for line in await entries.tally(session, task)]

    assert await counted() == [1, 2, 0]
    async with sessions.begin() as session:
        await merges.merge(session, one.id, other.id, because="manual", now=clock.now())
    assert await counted() == [1, 1, 0]  # the first of the two counts
    with pytest.raises(AlreadyDone):
        await answer(sessions, clock, other, [3])
    async with sessions.begin() as session:
        await merges.undo(session, other.id, now=clock.now())
    assert await counted() == [1, 2, 0]


async def test_an_erased_person_leaves_no_answer_and_gives_none(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    await put(sessions, clock, **QUIZ)
    member = await make.member()
    await answer(sessions, clock, member, [2, 3])
    async with sessions.begin() as session:
        who = await privacy.subject_of(session, member.id)
    async with sessions.begin() as session:
        await privacy.erase(session, member.id, EVERYTHING, reason=Reason.ASKED, by="amy", now=clock.now())
    assert who.member_ids == (member.id,)
    async with sessions.read() as session:
        assert not (await session.scalars(sa.select(TaskEntry))).all()
        assert not (await session.scalars(sa.select(TaskReward))).all()
        assert (await store.get(session, "测")).spent_points == 20  # what was given stays given
    with pytest.raises(PersonErased):
        await answer(sessions, clock, member, [2, 3])


async def test_days_in_a_row_bring_each_step_once(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    member = await make.member()

    async def day(days: int = 1) -> list[str]:
        clock.advance(days=days)
        async with sessions.begin() as session:
            await check_ins.check_in(session, member.id, now=clock.now())
            on = clock.now().date()
            got = await progress.follow_check_in(session, member.id, on=on, now=clock.now())
            assert not await progress.follow_check_in(session, member.id, on=on, now=clock.now())  # told twice
        return [given.step for _, given in got]

    await day()  # before the task began: does not count
    days = {2: {"points": 5}, 3: {"points": 9}}
    tomorrow = clock.now() + timedelta(days=1)
    told = {"task": "streak", "title": "打卡", "days": days, "most_rewards": 9, "budget_points": 99}
    first = await put(sessions, clock, starts_at=tomorrow, **told)
    assert (await put(sessions, clock, starts_at=tomorrow, **told)).version == first.version
    assert [await day(), await day(), await day(2), await day(), await day()] == [[], ["days:2"], [], [], ["days:3"]]
    async with sessions.read() as session:
        task = await store.get(session, "测")
    assert (task.rewarded, task.spent_points) == (2, 14)


async def test_a_month_is_done_when_enough_of_it_is(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    member = await make.member()
    await put(
        sessions, clock, key="月", task="monthly", title="三月任务", need=2, reward={"points": 50}, most_rewards=9,
        budget_points=500, goals=[{"check_ins": 2}, {"orders": 1}, {"votes": 1}],
    )  # fmt: skip
    await put(sessions, clock, key="投", **VOTE)

    async def follow() -> tuple[int, bool]:
        async with sessions.begin() as session:
            await progress.follow_months(session, [member.id], now=clock.now())
        async with sessions.read() as session:
            task = await store.get(session, "月")
            told = store.told(task)
            assert isinstance(told, definition.Monthly)
            month = await progress.month_of(session, task, told, member.id, on=clock.now().date())
        return month.done, month.is_rewarded

    await make.order(member)
    assert await follow() == (1, False)
    await answer(sessions, clock, member, [1], key="投")
    assert await follow() == (2, True)
    assert await follow() == (2, True)
    clock.advance(days=40)
    assert await follow() == (0, False)  # a new month begins with nothing
    async with sessions.read() as session:
        assert (await store.get(session, "月")).rewarded == 1
        assert list(await session.scalars(sa.select(TaskReward.points))) == [50]


async def test_files_are_validated_planned_and_applied_like_campaigns(
    sessions: Sessions, make: Make, clock: FrozenClock, tmp_path: Path
) -> None:
    path = tmp_path / "口味投票.yaml"
    vote = "task: vote\nstarts_at: 2026-03-01T00:00:00\nask: 哪个口味\noptions: [三文鱼, 鸭肉]\n"
    path.write_text(vote, encoding="utf-8")
    bad = tmp_path / "坏.yaml"
    bad.write_text("task: quiz\nstarts_at: 2026-03-01T00:00:00\nquestions: []\n", encoding="utf-8")
    found = {one.name: one for one in files.read_folder(tmp_path)}
    assert found["坏"].mistakes and not found["口味投票"].mistakes

    async def run() -> list[Change]:
        told = [one for one in files.read_folder(tmp_path) if one.told is not None]
        async with sessions.begin() as session:
            steps = await files.apply(session, told, gate=Gate(), review=Reviewing(), now=clock.now())
        return [step.change for step in steps]

    bad.unlink()
    assert await run() == [Change.NEW]
    assert await run() == [Change.SAME]
    path.write_text(vote + "reward: {offer: 没有这个}\nmost_rewards: 5\n", encoding="utf-8")
    async with sessions.read() as session:
        (step,) = await files.plan(session, files.read_folder(tmp_path), gate=Gate(), now=clock.now())
    assert "没有叫“没有这个”的优惠" in step.wrong
    with pytest.raises(RewardUnknown):
        await run()


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
async def test_whatever_happens_rewards_stay_within_the_budget_and_have_a_cause(
    sessions: Sessions, make: Make, clock: FrozenClock, seed: int
) -> None:
    chance = Random(seed)
    key, stock = f"测{seed}", chance.choice((1, 3, 9))
    offer = {"key": f"o{seed}", "title": "o", "kind": "amount", "amount_fen": 100, "valid_days": 9, "stock": stock}
    async with sessions.begin() as session:
        await offers.put(session, offers.Draft.model_validate({**offer, "starts_at": clock.now()}), now=clock.now())
    told = {**QUIZ, "reward": {"points": chance.choice((7, 20)), "offer": f"o{seed}"}, "starts_at": clock.now()}
    told |= {"most_rewards": chance.randint(0, 5), "budget_points": chance.randint(0, 90)}
    await put(sessions, clock, key, **told)
    people = [await make.member() for _ in range(6)]
    for _ in range(15):
        one, other = chance.sample(people, 2)
        deed = chance.choice(("answer", "answer", "answer", "merge", "limits", "close"))
        try:
            if deed == "answer":
                await answer(sessions, clock, one, [2, chance.choice((1, 3, 3))], key=key)
            elif deed == "merge" and chance.random() < 0.3:
                async with sessions.begin() as session:
                    await merges.merge(session, one.id, other.id, because="manual", now=clock.now())
            elif deed == "limits":
                told |= {"most_rewards": chance.randint(0, 5), "budget_points": chance.randint(0, 90)}
                await put(sessions, clock, key, **told)
        except ShopError:
            pass
    async with sessions.read() as session:
        task = await store.get(session, key)
        given_ = (await session.scalars(sa.select(TaskReward).where(TaskReward.task_id == task.id))).all()
        causes = {str(one.id): one for one in given_}
        booked = (await session.scalars(sa.select(PointEntry).where(PointEntry.facts["task"].as_string() == key))).all()
        coupons = (
            await session.scalars(sa.select(Coupon).join(offers.Offer).where(offers.Offer.key == f"o{seed}"))
        ).all()
        entered = {row.member_id for row in await session.scalars(sa.select(TaskEntry).where(TaskEntry.is_passed))}
    assert task.most_rewards is not None and task.budget_points is not None
    assert len(given_) == task.rewarded <= task.most_rewards
    assert sum(one.points for one in given_) == task.spent_points <= task.budget_points
    assert {row.cause_id: row.points for row in booked} == {name: one.points for name, one in causes.items()}
    assert sorted(one.because for one in coupons) == sorted(f"task:{name}" for name in causes)
    assert len(coupons) <= stock
    assert {one.member_id for one in given_} <= entered
