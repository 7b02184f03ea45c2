"""Community tasks by chat over the simulator: a quiz, a vote with its result, days in a row."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from campaigns.models.review import ReviewPicture, ReviewStatus
from campaigns.tasks import definition, reviews, store
from crm import loyalty_rules, orders
from crm.order_terms import Told
from crm.point_rules import PointRules
from tests.campaigns.test_reviews import LINES, PNG, REVIEW
from tests.campaigns.test_tasks import QUIZ, VOTE
from tests.journeys.test_points import ask, member_of
from tests.town import KF, Town, town

STREAK = {"task": "streak", "title": "三天打卡", "days": {2: {"points": 8}}, "most_rewards": 9, "budget_points": 99}


@pytest.fixture
async def shop(database_url: str, tmp_path: Path) -> AsyncIterator[Town]:
    async with town(database_url, tmp_path, line_gap=timedelta(0)) as opened:
        async with opened.service.app.sessions.begin() as session:
            await loyalty_rules.set_points(session, PointRules(), now=opened.clock.now())
        yield opened


async def put(shop: Town, key: str, **told: Any) -> None:
    now = shop.clock.now()
    told = {"starts_at": now, "ends_at": now + timedelta(days=9), **told}
    async with shop.service.app.sessions.begin() as session:
        await store.put(session, key, definition.read(told), now=now)


def menu(shop: Town, customer: str) -> dict[str, str]:
    """The lines of the last menu, by what they say."""
    last = [one for one in shop.phone(customer) if one["msgtype"] == "msgmenu"][-1]
    return {line["click"]["content"]: line["click"]["id"] for line in last["msgmenu"]["list"]}


async def tap(shop: Town, customer: str, line: str) -> str:
    before = len(shop.heard(customer))
    shop.clock.advance(seconds=2)
    shop.says(customer, line, menu(shop, customer)[line])
    await shop.until(lambda: len(shop.heard(customer)) > before)
    return shop.heard(customer)[-1]


async def test_a_quiz_question_by_question_and_only_once(shop: Town) -> None:
    await put(shop, "小测", **QUIZ)
    customer = shop.customer("陈晓")
    said = await ask(shop, customer, "任务")
    assert "养猫小测：还没答，答对 2 题得 20 积分" in said
    assert "第 1/2 题" in await tap(shop, customer, "养猫小测")
    first = menu(shop, customer)
    assert "第 2/2 题" in await tap(shop, customer, "不能")
    said = await tap(shop, customer, "8 小时")
    assert "2 题答对 1 题，要答对 2 题" in said and "正确答案：12 小时以上" in said
    before = len(shop.heard(customer))
    shop.says(customer, "不能", first["不能"])  # an old menu, tapped again
    await shop.until(lambda: len(shop.heard(customer)) > before)
    again = await tap(shop, customer, "12 小时以上")
    assert "您已经答过了：2 题答对 1 题" in again
    other = shop.customer("林立")
    await ask(shop, other, "答题")
    await tap(shop, other, "不能")
    assert "通过。\n获得 20 积分" in await tap(shop, other, "12 小时以上")
    assert "20 积分可用" in await ask(shop, other, "我的积分")
    assert "社群任务" in await ask(shop, other, "积分明细")


async def test_a_vote_tells_the_result_after_it(shop: Town) -> None:
    await put(shop, "口味", **VOTE)
    one, other = shop.customer("陈晓"), shop.customer("林立")
    assert "下一款出什么口味" in await ask(shop, one, "投票")
    lines = menu(shop, one)
    assert "三文鱼  1 票  100%" in await tap(shop, one, "三文鱼")
    await ask(shop, other, "投票 口味")
    said = await tap(shop, other, "鸭肉")
    assert "投给了「鸭肉」" in said and "现在的结果（2 票）" in said
    before = len(shop.heard(one))
    shop.says(one, "兔肉", lines["兔肉"])
    await shop.until(lambda: len(shop.heard(one)) > before)
    assert "您已经投给了「三文鱼」" in shop.heard(one)[-1]
    shop.clock.advance(days=10)
    before = len(shop.heard(other))
    shop.says(other, "兔肉", lines["兔肉"])
    await shop.until(lambda: len(shop.heard(other)) > before)
    assert "您已经投给了「鸭肉」" in shop.heard(other)[-1]
    late = shop.customer("晚来")
    assert "现在没有进行中的任务" in await ask(shop, late, "投票")
    shop.says(late, "兔肉", lines["兔肉"])
    await shop.until(lambda: len(shop.heard(late)) > 1)
    assert "已经结束了" in shop.heard(late)[-1]


async def test_days_in_a_row_are_told_with_the_check_in(shop: Town) -> None:
    await put(shop, "打卡", **STREAK)
    customer = shop.customer("陈晓")
    assert "三天打卡" not in await ask(shop, customer, "打卡")
    assert "已连续 1 天" in await ask(shop, customer, "任务")
    shop.clock.advance(days=1)
    assert "三天打卡：连续打卡 2 天达成！获得 8 积分" in await ask(shop, customer, "打卡")


async def test_odd_taps_lead_nowhere_and_break_nothing(shop: Town) -> None:
    await put(shop, "小测", **QUIZ)
    customer = shop.customer("陈晓")
    for odd in ("task:", "task:quiz:99999:1:1", "task:quiz:1:x:y", "task:open:٣", "task:quiz:1:7:2", "task:vote:1:1:9"):
        before = len(shop.heard(customer))
        shop.clock.advance(seconds=70)
        shop.simulator.world.customer_says(customer, KF, "x", odd)
        await shop.until(lambda before=before: len(shop.heard(customer)) > before)
    assert "第 1/2 题" in await ask(shop, customer, "答题")


async def test_a_picture_in_the_chat_is_looked_at_and_its_sender_hears(shop: Town) -> None:
    await put(shop, "晒", **REVIEW)
    customer = shop.customer("陈晓")
    assert "晒" not in await ask(shop, customer, "你好")
    member = await member_of(shop, customer)
    now = shop.clock.now()
    told = Told(
        source="shop", external_no="A1", member_id=member.id, placed_at=now, total_fen=12_700, paid_at=now, lines=LINES
    )
    async with shop.service.app.sessions.begin() as session:
        await orders.place(session, told, now=now)
    await ask(shop, customer, "晒单")
    assert "请发一张「猫粮 2kg」的照片" in await tap(shop, customer, "猫粮 2kg")

    async def sends(content: bytes) -> str:
        before = len(shop.heard(customer))
        shop.clock.advance(seconds=2)
        material = shop.simulator.world.media.keep("image", "猫.png", content)
        shop.simulator.world.kf.say(KF, customer, "image", {"media_id": material.media_id})
        await shop.until(lambda: len(shop.heard(customer)) > before)
        return shop.heard(customer)[-1]

    assert "同事看过之后告诉您结果，通过得 30 积分" in await sends(PNG.content)
    assert "已经加到这次晒单里" in await sends(PNG.content + b"2")

    async def pictures() -> list[bytes]:
        async with shop.service.app.sessions.read() as session:
            rows = await session.scalars(sa.select(ReviewPicture.content).where(ReviewPicture.content.is_not(None)))
            return sorted(rows)  # type: ignore[type-var]

    for _ in range(100):
        if len(found := await pictures()) == 2:
            break
        await asyncio.sleep(0.1)
    assert found == [PNG.content, PNG.content + b"2"]
    async with shop.service.app.sessions.begin() as session:
        (review,) = await reviews.listed(session, ReviewStatus.WAITING)
        await reviews.refuse(session, review.id, reason="看不到商品", by="amy", now=shop.clock.now())
    await shop.until(lambda: "这次没有通过：看不到商品。" in shop.heard(customer)[-1])
    await ask(shop, customer, "晒单")
    await tap(shop, customer, "猫粮 2kg")
    await sends(PNG.content)
    async with shop.service.app.sessions.begin() as session:
        (review,) = await reviews.listed(session, ReviewStatus.WAITING)
        await reviews.approve(session, review.id, by="amy", now=shop.clock.now())
    await shop.until(lambda: "您晒的「猫粮 2kg」通过啦，谢谢分享！\n获得 30 积分。" in shop.heard(customer)[-1])
    await ask(shop, customer, "晒单")
    assert "猫粮 2kg" not in menu(shop, customer)
