"""From a question nobody had written an answer for to the answer on the next customer's phone."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from bot.faq import learning, publish, regression
from bot.faq.learning import ClusterNotFound, Learning
from bot.handoff import desk
from bot.models.faq import FaqQuestion, Follow
from bot.models.handoff import TicketStatus
from bot.settings import HandoffSettings
from bot.simulator.kf import State
from tests.journeys.test_handoff_native import until_ticket
from tests.town import KF, SERVICER, Town, town

ASKED = ("可以寄到新疆吗", "新疆能寄吗", "寄新疆可以不可以")
ANSWER = "新疆可以寄的，走邮政，大约 7 天。"


@pytest.fixture
async def shop(database_url: str, tmp_path: Path) -> AsyncIterator[Town]:
    async with town(database_url, tmp_path, line_gap=timedelta(0)) as opened:
        yield opened


async def ask_in_vain(shop: Town, question: str) -> str:
    customer = shop.customer()
    shop.says(customer, question)
    await shop.until(lambda: shop.heard(customer))
    return customer


async def sort(shop: Town) -> list[learning.Wanted]:
    await Learning(shop.service.app, kept=timedelta(days=180)).round()
    async with shop.service.app.sessions.read() as session:
        return await learning.wanted(session)


async def test_what_was_asked_in_vain_becomes_an_article_with_the_agents_words(shop: Town) -> None:
    app, now = shop.service.app, shop.clock.now()
    customers = [await ask_in_vain(shop, question) for question in ASKED]
    shop.says(customers[0], "人工")
    await shop.until(lambda: shop.simulator.world.kf.session(KF, customers[0]).state is State.HUMAN)
    words = f"{ANSWER}您的单号 SF1234567890"
    shop.simulator.world.kf.reply(SERVICER, KF, customers[0], "text", {"content": words})
    await shop.quiet(1.0)

    (cluster,) = await sort(shop)
    assert (cluster.asked, cluster.customers) == (3, 3)
    async with app.sessions.read() as session:
        draft = await learning.draft(session, cluster.id)
    assert {draft.article.question, *draft.article.similar} == set(ASKED)
    assert draft.agents == (f"{ANSWER}您的单号 〔号码〕",)

    article = replace(draft.article, answer=ANSWER)
    async with app.sessions.begin() as session:
        await learning.accept(session, cluster.id, article, by="王小美", now=now)
    await publish.publish(app.sessions, [article.id], by="王小美", now=now)
    app.peers.tap("faq")
    await shop.until(lambda: article.id in shop.service.app.faq.articles)
    newcomer = await ask_in_vain(shop, "新疆可以寄吗")
    assert shop.heard(newcomer) == [ANSWER]

    assert await sort(shop) == [], "written: off the list"
    async with app.sessions.read() as session:
        cases = await regression.cases(session)
    assert {case.question for case in cases} == set(ASKED)
    assert all(case.expected == article.id and case.reached for case in cases)


async def test_what_agents_say_at_the_desk_is_learnt_from_too(database_url: str, tmp_path: Path) -> None:
    at_desk = HandoffSettings(desk_accounts=frozenset({KF}))
    async with town(database_url, tmp_path, line_gap=timedelta(0), handoff=at_desk) as shop:
        app = shop.service.app
        customer = await ask_in_vain(shop, ASKED[0])
        shop.says(customer, "人工")
        found = await until_ticket(shop, lambda one: one.status is TicketStatus.WAITING)
        async with app.sessions.begin() as session:
            words = f"{ANSWER}您的单号 SF1234567890"
            said = {"staff": SERVICER, "text": words, "key": "1"}
            await desk.reply(session, found.id, **said, policy=app.handoff, now=app.clock.now())
        app.peers.tap("send")
        await shop.until(lambda: shop.heard(customer)[-1].startswith(ANSWER))
        await shop.quiet(0.2)

        (cluster,) = await sort(shop)
        async with app.sessions.read() as session:
            draft = await learning.draft(session, cluster.id)
        assert draft.agents == (f"{ANSWER}您的单号 〔号码〕",), "the bot's own words are none of an agent's"


async def test_a_dismissed_cluster_stays_dismissed_and_is_closed_once(shop: Town) -> None:
    app, now = shop.service.app, shop.clock.now()
    await ask_in_vain(shop, ASKED[0])
    (cluster,) = await sort(shop)
    async with app.sessions.begin() as session:
        await learning.dismiss(session, cluster.id, by="王小美", now=now)
    await ask_in_vain(shop, ASKED[1])
    assert await sort(shop) == []
    with pytest.raises(ClusterNotFound):
        async with app.sessions.begin() as session:
            await learning.dismiss(session, cluster.id, by="李强", now=now)


async def test_what_the_customer_did_next_is_kept(shop: Town) -> None:
    customer = await ask_in_vain(shop, "那只大象叫什么名字")
    shop.says(customer, "人工")
    await shop.quiet(0.8)
    other = await ask_in_vain(shop, "那匹斑马住在哪里")
    shop.says(other, "多久发货")
    await shop.until(lambda: len(shop.heard(other)) == 2)
    shop.clock.advance(minutes=31)
    await sort(shop)
    async with shop.service.app.sessions.read() as session:
        rows = await session.execute(sa.select(FaqQuestion.text, FaqQuestion.follow).order_by(FaqQuestion.id))
    assert [tuple(row) for row in rows] == [
        ("那只大象叫什么名字", Follow.ASKED_PERSON),
        ("那匹斑马住在哪里", Follow.ASKED_AGAIN),
        ("多久发货", None),
    ]


async def test_old_questions_are_forgotten(shop: Town) -> None:
    await ask_in_vain(shop, ASKED[0])
    shop.clock.advance(days=181)
    await sort(shop)
    async with shop.service.app.sessions.read() as session:
        assert await session.scalar(sa.select(sa.func.count()).select_from(FaqQuestion)) == 0


async def test_a_thumb_down_puts_an_answered_question_on_the_list(database_url: str, tmp_path: Path) -> None:
    async with town(database_url, tmp_path, faq_asks_usefulness=True) as shop:
        customer = shop.customer()
        shop.says(customer, "多久发货")
        await shop.until(lambda: shop.heard(customer))
        (menu,) = [one for one in shop.phone(customer) if one["msgtype"] == "msgmenu"]
        assert menu["msgmenu"]["head_content"].startswith("【发货】")
        down = menu["msgmenu"]["list"][1]["click"]
        shop.says(customer, down["content"], down["id"])
        await shop.until(lambda: len(shop.heard(customer)) == 2)
        assert "抱歉没帮上忙" in shop.heard(customer)[1]
        assert [one.label for one in await sort(shop)] == ["多久发货"]


async def test_nobody_can_rate_for_somebody_else(database_url: str, tmp_path: Path) -> None:
    async with town(database_url, tmp_path, faq_asks_usefulness=True) as shop:
        customer, stranger = shop.customer(), shop.customer("路人")
        shop.says(customer, "多久发货")
        await shop.until(lambda: shop.heard(customer))
        (menu,) = [one for one in shop.phone(customer) if one["msgtype"] == "msgmenu"]
        down = menu["msgmenu"]["list"][1]["click"]
        shop.says(stranger, down["content"], down["id"])
        shop.says(stranger, "多久发货", "useless:99999999999999999999999")
        await shop.until(lambda: shop.heard(stranger))
        assert await sort(shop) == [] or all(one.label != "多久发货" for one in await sort(shop))
