"""Reviews with pictures: once for each article of an order, decided once, rewarded within the budget."""

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from bot.privacy import EVERYTHING
from campaigns.models.review import ReviewPicture, ReviewStatus, TaskReview
from campaigns.models.task import TaskReward
from campaigns.tasks import definition, reviews, store
from campaigns.tasks.reviews import (
    Article,
    EnoughReviews,
    NotToReview,
    Picture,
    PictureWrong,
    ReasonMissing,
    ReviewIsDecided,
    WordsMissing,
)
from campaigns.tasks.store import TaskNotOpen
from crm import loyalty_rules, merges, orders, points, privacy
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.models.member import Member
from crm.models.order import Order
from crm.order_terms import Line, Told
from crm.point_rules import PointRules
from tests.factories import Make

REVIEW = {
    "task": "review",
    "title": "晒单返积分",
    "reward": {"points": 30},
    "most_rewards": 2,
    "budget_points": 60,
    "a_month": 2,
}
PNG = Picture(content=b"\x89PNG\r\n\x1a\n" + bytes(20))
LINES = (
    Line(sku="F1", name="猫粮 2kg", category="主粮", price_fen=9900),
    Line(sku="T1", name="逗猫棒", category="玩具", price_fen=1900),
    Line(sku="F2", name="罐头", category="主粮", price_fen=900),
)


async def buys(sessions: Sessions, clock: FrozenClock, member: Member, no: str = "A1", **more: Any) -> Order:
    now = clock.now()
    told = {"placed_at": now, "paid_at": now, "total_fen": 12_700, "lines": LINES, **more}
    async with sessions.begin() as session:
        return await orders.place(session, Told(source="shop", external_no=no, member_id=member.id, **told), now=now)


async def put(sessions: Sessions, clock: FrozenClock, **more: Any) -> None:
    told = definition.read({**REVIEW, "starts_at": clock.now(), **more})
    async with sessions.begin() as session:
        await loyalty_rules.set_points(session, PointRules(), now=clock.now())
        await store.put(session, "晒", told, now=clock.now())


async def send(
    sessions: Sessions,
    clock: FrozenClock,
    member: Member,
    order: Order,
    sku: str = "F1",
    *pictures: Picture,
    words: str = "",
) -> TaskReview:
    async with sessions.begin() as session:
        return await reviews.send(
            session, "晒", member.id, order.id, sku, pictures or [PNG], words=words, channel="h5", now=clock.now()
        )


async def approve(sessions: Sessions, clock: FrozenClock, review: TaskReview) -> str:
    async with sessions.begin() as session:
        _, given = await reviews.approve(session, review.id, by="amy", now=clock.now())
    assert given is not None
    return given.why or str(given.points)


async def articles(sessions: Sessions, clock: FrozenClock, member: Member) -> list[str]:
    async with sessions.read() as session:
        told = store.told(await store.get(session, "晒"))
        assert isinstance(told, definition.Review)
        found: list[Article] = await reviews.to_review(session, told, member.id, now=clock.now())
    return [one.sku for one in found]


async def test_what_was_bought_lately_and_kept_may_be_reviewed_once(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    await put(sessions, clock, categories=["主粮"], within_days=10)
    member, other = await make.member(), await make.member()
    order = await buys(sessions, clock, member)
    assert await articles(sessions, clock, member) == ["F1", "F2"]
    assert await articles(sessions, clock, other) == []
    review = await send(sessions, clock, member, order)
    assert await articles(sessions, clock, member) == ["F2"]
    for who, sku in ((member, "F1"), (member, "T1"), (other, "F2"), (member, "X")):
        with pytest.raises(NotToReview):
            await send(sessions, clock, who, order, sku)
    with pytest.raises(ReasonMissing):
        async with sessions.begin() as session:
            await reviews.refuse(session, review.id, reason="  ", by="amy", now=clock.now())
    async with sessions.begin() as session:
        refused = await reviews.refuse(session, review.id, reason="照片看不清", by="amy", now=clock.now())
    assert refused.reason == "照片看不清"
    with pytest.raises(ReviewIsDecided):
        await approve(sessions, clock, review)
    again = await send(sessions, clock, member, order)  # refused: one more try
    assert await approve(sessions, clock, again) == "30"
    async with sessions.begin() as session:
        at = {"refunded_at": clock.now(), "now": clock.now()}
        await orders.refund(session, "shop", "R1", order_no="A1", amount_fen=12_700, **at)
    assert await articles(sessions, clock, member) == []
    clock.advance(days=10)
    await buys(sessions, clock, member, "A2")
    assert await articles(sessions, clock, member) == ["F1", "F2"]
    clock.advance(days=10)
    assert await articles(sessions, clock, member) == []


async def test_pictures_words_and_months_have_their_limits(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    await put(sessions, clock, min_chars=4, ends_at=clock.now() + timedelta(days=60))
    member = await make.member()
    order = await buys(sessions, clock, member)
    bad = Picture(content=b"<svg onload=alert(1)>")
    huge = Picture(content=PNG.content + bytes(reviews.MOST_BYTES))
    for pictures, reason in (((bad,), "kind"), ((huge,), "too_large"), ((PNG,) * 7, "too_many")):
        with pytest.raises(PictureWrong) as wrong:
            await send(sessions, clock, member, order, "F1", *pictures, words="猫很喜欢")
        assert wrong.value.reason == reason
    with pytest.raises(WordsMissing):
        await send(sessions, clock, member, order, words=" 好 \n")
    for sku in ("F1", "F2"):
        await send(sessions, clock, member, order, sku, words="猫很喜欢")
    with pytest.raises(EnoughReviews):
        await send(sessions, clock, member, order, "T1", words="猫很喜欢")
    clock.advance(days=61)
    order = await buys(sessions, clock, member, "A2")
    with pytest.raises(TaskNotOpen):
        await send(sessions, clock, member, order, words="猫很喜欢")


async def test_who_became_one_person_reviews_what_both_bought_and_is_rewarded_within_the_budget(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    await put(sessions, clock, a_month=9)
    one, other = await make.member(), await make.member()
    first, second = await buys(sessions, clock, one), await buys(sessions, clock, other, "A2")
    mine, theirs = await send(sessions, clock, one, first), await send(sessions, clock, other, second)
    async with sessions.begin() as session:
        await merges.merge(session, one.id, other.id, because="manual", now=clock.now())
    third = await send(sessions, clock, other, second, "F2")
    assert [await approve(sessions, clock, review) for review in (mine, theirs, third)] == ["30", "30", "spent"]
    async with sessions.begin() as session:
        assert (await points.balance_of(session, one.id, now=clock.now())).active == 60
        assert len(await reviews.of_member(session, mine.task_id, one.id)) == 3
        await privacy.erase(session, one.id, EVERYTHING, by="amy", now=clock.now())
    async with sessions.read() as session:
        for table in (TaskReview, ReviewPicture, TaskReward):
            assert not (await session.scalars(sa.select(table.id))).all()


async def test_a_decision_after_the_end_still_counts(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    await put(sessions, clock, ends_at=clock.now() + timedelta(days=1))
    member = await make.member()
    review = await send(sessions, clock, member, await buys(sessions, clock, member))
    clock.advance(days=5)
    assert await approve(sessions, clock, review) == "30"
    async with sessions.read() as session:
        assert (await reviews.listed(session, ReviewStatus.APPROVED))[0].by == "amy"
