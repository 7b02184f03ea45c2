"""A campaign asks how likely members are to recommend the shop; they tap a score, say why, and the manager reads it."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from campaigns import definition, engine, surveys
from campaigns.engine import Review
from campaigns.surveys import SURVEYS
from tests.journeys.test_points import ask
from tests.journeys.test_sale_pages import at, field, follower, page, phone
from tests.journeys.test_tasks import tap
from tests.town import Town, town

ASKS = {
    "kind": "one_off",
    "audience": {"is": "contact_of"},
    "channels": ["kf"],
    "messages": [{"text": "打扰一分钟，想听听您的看法。", "survey": "三月"}],
}


@pytest.fixture
async def shop(database_url: str, tmp_path: Path) -> AsyncIterator[Town]:
    async with town(database_url, tmp_path, line_gap=timedelta(0)) as opened:
        now = opened.clock.now()
        told = SURVEYS.read("三月", {"survey": "nps", "starts_at": now.isoformat()})
        async with opened.service.app.sessions.begin() as session:
            await surveys.put(session, "三月", told, now=now)
        yield opened


async def test_asked_by_a_campaign_in_the_chat_and_read_with_its_interval(shop: Town) -> None:
    happy, not_so = follower(shop, "陈晓"), follower(shop, "林立")
    for customer in (happy, not_so):
        await ask(shop, customer, "你好")
    now = shop.clock.now()
    starts = (now + timedelta(seconds=30)).isoformat()
    async with shop.service.app.sessions.begin() as session:
        made = await engine.create(session, "三月调研", definition.read({**ASKS, "starts_at": starts}), by="a", now=now)
        await engine.submit(session, made.id, review=Review(), now=now)
    shop.clock.advance(seconds=31)
    for customer in (happy, not_so):
        await shop.until(lambda customer=customer: "想听听您的看法" in shop.heard(customer)[-1], seconds=40)
    assert "方便说说为什么" in await tap(shop, happy, "10 分，一定会")
    assert "谢谢您告诉我们" in await ask(shop, happy, "猫很喜欢，发货也快")
    await tap(shop, not_so, "3 分")
    assert "已经打过分" in await tap(shop, not_so, "9 分")
    alone = follower(shop, "路过")
    await ask(shop, alone, "你好")
    assert "多大可能" in await ask(shop, alone, "评分")
    assert "方便说说为什么" in await ask(shop, alone, "0 分")
    async with shop.service.app.sessions.read() as session:
        survey = await surveys.find(session, "三月")
        assert survey is not None
        found = await surveys.result(session, survey.id)
        by = await surveys.by_campaign(session, survey.id)
        assert [one.comment for one in await surveys.comments(session, survey.id)] == ["猫很喜欢，发货也快"]
    assert (found.answers, found.promoters, found.detractors) == (3, 1, 2)
    assert [(one.campaign, one.nps.answers) for one in by] == [("三月调研", 2), ("", 1)]


async def test_answered_on_the_page(shop: Town) -> None:
    url = at(shop, "/h5/surveys/三月")
    async with phone(shop, follower(shop, "陈晓")) as http:
        token = field(await page(http, url), "token")
        async with http.post(url, data={"token": token}) as answer:
            assert answer.status == 422 and "0 到 10" in await answer.text()
        for _ in range(2):
            async with http.post(url, data={"token": token, "score": "9", "comment": "好"}) as answer:
                assert answer.status == 200 and "您打了 9 分" in await answer.text()
        async with http.get(at(shop, "/h5/surveys/没有")) as answer:
            assert answer.status == 404
