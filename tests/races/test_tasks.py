"""Tasks raced for: one answer and one reward a person, no reward above the budget; without the guards both break."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
import sqlalchemy as sa

from campaigns.models.review import ReviewStatus, TaskReview
from campaigns.models.task import CommunityTask, TaskEntry, TaskReward
from campaigns.tasks import definition, entries, reviews, store
from campaigns.tasks.entries import AlreadyDone, Answered
from campaigns.tasks.reviews import NotToReview, ReviewIsDecided
from crm import loyalty_rules
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.models.member import Member
from crm.point_rules import PointRules
from tests.campaigns.test_reviews import buys, send
from tests.campaigns.test_reviews import put as put_review
from tests.campaigns.test_tasks import QUIZ
from tests.factories import Make

AT_ONCE = 6
MOST = 3


async def race(run: Callable[[int], Awaitable[object]]) -> list[object]:
    return await asyncio.gather(*map(run, range(AT_ONCE)), return_exceptions=True)


@pytest.fixture
async def task(sessions: Sessions, clock: FrozenClock) -> CommunityTask:
    told = definition.read({**QUIZ, "starts_at": clock.now(), "most_rewards": MOST, "budget_points": 60})
    async with sessions.begin() as session:
        await loyalty_rules.set_points(session, PointRules(), now=clock.now())
        return await store.put(session, "测", told, now=clock.now())


async def answer(sessions: Sessions, clock: FrozenClock, member: Member) -> Answered:
    async with sessions.begin() as session:
        return await entries.answer(session, "测", member.id, [2, 3], version=1, channel="h5", now=clock.now())


async def stands(sessions: Sessions) -> tuple[CommunityTask, int, int]:
    async with sessions.read() as session:
        found = await store.get(session, "测")
        entered = await session.scalar(sa.select(sa.func.count()).select_from(TaskEntry))
        return found, entered or 0, len((await session.scalars(sa.select(TaskReward.id))).all())


async def test_one_person_who_answers_six_times_at_once_counts_once(
    sessions: Sessions, make: Make, clock: FrozenClock, task: CommunityTask
) -> None:
    member = await make.member()
    ended = await race(lambda _: answer(sessions, clock, member))
    assert sorted(type(one).__name__ for one in ended) == [AlreadyDone.__name__] * 5 + [Answered.__name__]
    found, entered, rewarded = await stands(sessions)
    assert (found.entered, entered, found.rewarded, rewarded, found.spent_points) == (1, 1, 1, 1, 20)


async def test_six_who_pass_race_for_three_rewards(
    sessions: Sessions, make: Make, clock: FrozenClock, task: CommunityTask
) -> None:
    people = [await make.member() for _ in range(AT_ONCE)]
    ended = await race(lambda number: answer(sessions, clock, people[number]))
    whys = [one.reward.why for one in ended if isinstance(one, Answered) and one.reward is not None]
    assert sorted(whys) == ["", "", "", "spent", "spent", "spent"]
    found, entered, rewarded = await stands(sessions)
    assert (found.entered, entered, found.rewarded, rewarded, found.spent_points) == (6, 6, MOST, MOST, 60)


@pytest.mark.parametrize("what", ["once", "budget"])
async def test_the_race_is_real_without_the_guard(
    sessions: Sessions, make: Make, clock: FrozenClock, task: CommunityTask, what: str
) -> None:
    """Look, wait until the others have looked as well, then write down what seemed right."""
    people = [await make.member() for _ in range(AT_ONCE)]
    looked, given = asyncio.Barrier(AT_ONCE), 0

    async def take(number: int) -> None:
        nonlocal given
        async with sessions.read() as session:
            seen = await store.get(session, "测")
            had = await entries.entry_of(session, task.id, people[0].id)
            free = had is None if what == "once" else seen.rewarded < MOST
        await looked.wait()
        if free:
            async with sessions.begin() as session:
                values = {"rewarded": seen.rewarded + 1, "spent_points": seen.spent_points + 20}
                await session.execute(sa.update(CommunityTask).values(**values))
            given += 1

    await race(take)
    assert given > {"once": 1, "budget": MOST}[what]


async def test_six_reviews_of_one_article_at_once_are_one_and_decided_once(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    await put_review(sessions, clock)
    member = await make.member()
    order = await buys(sessions, clock, member)
    ended = await race(lambda _: send(sessions, clock, member, order))
    assert sorted(type(one).__name__ for one in ended) == [NotToReview.__name__] * 5 + [TaskReview.__name__]
    (review,) = [one for one in ended if isinstance(one, TaskReview)]

    async def decide(number: int) -> object:
        async with sessions.begin() as session:
            if number % 2:
                return await reviews.refuse(session, review.id, reason="看不清", by="ben", now=clock.now())
            return await reviews.approve(session, review.id, by="amy", now=clock.now())

    ended = await race(decide)
    assert sum(isinstance(one, ReviewIsDecided) for one in ended) == AT_ONCE - 1
    async with sessions.read() as session:
        decided = await reviews.get(session, review.id)
        rewarded = len((await session.scalars(sa.select(TaskReward.id))).all())
    assert rewarded == (decided.status is ReviewStatus.APPROVED)


async def test_the_race_for_an_article_is_real_without_the_guard(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    """Look, wait until the others have looked as well, then write down what seemed right."""
    await put_review(sessions, clock)
    member = await make.member()
    await buys(sessions, clock, member)
    looked = asyncio.Barrier(AT_ONCE)

    async def take(_: int) -> bool:
        async with sessions.read() as session:
            told = store.told(await store.get(session, "晒"))
            assert isinstance(told, definition.Review)
            free = await reviews.to_review(session, told, member.id, now=clock.now())
        await looked.wait()
        return any(one.sku == "F1" for one in free)

    assert sum(one is True for one in await race(take)) > 1
