import asyncio
from dataclasses import replace

import numpy as np
import pytest

from bot.faq import publish, regression, store
from bot.faq.articles import Article
from bot.faq.regression import Grade
from bot.faq.semantic import Semantics

SHIP = Article("ship", "多久发货", ("什么时候发货", "几天能发货"), "48 小时内发出。")
FREE = Article("free", "满多少包邮", ("包邮吗", "运费怎么算"), "满 88 元包邮。")
POINTS = Article("points", "积分怎么用", ("积分有什么用",), "100 积分抵 1 元。")


@pytest.fixture
async def shop(sessions, clock):
    """Three articles, two of them live, and one question each in the regression set."""
    async with sessions.begin() as session:
        await store.save_all(session, [SHIP, FREE, POINTS], by="小王", now=clock.now())
        await regression.add(session, ["啥时候发货呀"], key="ship", by="小王", now=clock.now())
        await regression.add(session, ["运费怎么算"], key="free", by="小王", now=clock.now())
    await publish.publish(sessions, ["ship", "free"], by="小王", now=clock.now())
    return sessions


async def seen(sessions):
    async with sessions.read() as session:
        return await store.published(session)


async def save(sessions, clock, article):
    async with sessions.begin() as session:
        await store.save(session, article, by="小李", now=clock.now())


async def test_customers_see_what_was_published_and_no_draft(shop, clock):
    await save(shop, clock, replace(FREE, answer="满 99 元包邮。"))
    live = await seen(shop)
    assert set(live) == {"ship", "free"}
    assert live["free"].content == FREE
    done = await publish.publish(shop, ["free"], by="小李", now=clock.now())
    assert done.keys == ("free",)
    assert (await seen(shop))["free"].content.answer == "满 99 元包邮。"


async def test_publishing_what_is_live_makes_no_new_version(shop, clock):
    first = await publish.publish(shop, ["free"], by="小李", now=clock.now())
    again = await publish.publish(shop, ["free"], by="小李", now=clock.now())
    assert (first.version, first.keys) == (again.version, ())


async def test_an_edit_that_makes_an_old_question_worse_is_refused_with_the_list(shop, clock):
    await save(shop, clock, replace(FREE, question="满多少包邮", similar=()))
    with pytest.raises(publish.MadeWorse) as refused:
        await publish.publish(shop, ["free"], by="小李", now=clock.now())
    (worse,) = refused.value.worse
    assert (worse.case.question, worse.case.expected) == ("运费怎么算", "free")
    assert worse.grade < worse.case.reached == Grade.ANSWERED
    assert (await seen(shop))["free"].content == FREE


async def test_it_goes_live_all_the_same_for_a_reason_that_is_kept(shop, clock):
    await save(shop, clock, replace(FREE, question="满多少包邮", similar=()))
    done = await publish.publish(shop, ["free"], by="店长", now=clock.now(), despite="运费另写一篇")
    assert [one.case.question for one in done.worse] == ["运费怎么算"]
    async with shop.read() as session:
        last = (await store.history(session, "free"))[-1]
    assert (last.what, last.by, last.note) == ("published", "店长", "运费另写一篇")
    assert [one for one in await publish.check(shop, now=clock.now()) if one.is_worse] == []


async def test_a_new_article_that_steals_an_old_question_is_refused(shop, clock):
    asked = "下单以后几天能发货出来"
    async with shop.begin() as session:
        await regression.add(session, [asked], key="ship", by="小王", now=clock.now())
    await publish.publish(shop, ["points"], by="小王", now=clock.now())
    await save(shop, clock, Article("thief", asked, (), "请看首页。"))
    with pytest.raises(publish.MadeWorse) as refused:
        await publish.publish(shop, ["thief"], by="小李", now=clock.now())
    assert [(one.case.question, one.shown) for one in refused.value.worse] == [(asked, "thief")]


async def test_two_articles_with_one_question_are_refused(shop, clock):
    await save(shop, clock, Article("twin", "满多少包邮呢？", (), "满 10 元。"))
    with pytest.raises(publish.QuestionTaken) as refused:
        await publish.publish(shop, ["twin"], by="小李", now=clock.now())
    assert (refused.value.key, refused.value.other) == ("twin", "free")


async def test_a_withdrawn_article_is_gone_and_can_come_back(shop, clock):
    await publish.withdraw(shop, ["free"], by="小李", now=clock.now())
    assert set(await seen(shop)) == {"ship"}
    await publish.publish(shop, ["free"], by="小李", now=clock.now())
    async with shop.read() as session:
        steps = [(step.what, step.by) for step in await store.history(session, "free")]
    assert sorted(steps) == [("published", "小李"), ("published", "小王"), ("saved", "小王"), ("withdrawn", "小李")]


async def test_an_unknown_article_cannot_be_published(shop, clock):
    with pytest.raises(store.ArticleNotFound):
        await publish.publish(shop, ["nobody"], by="小李", now=clock.now())


async def test_many_publish_at_once_and_none_is_lost(shop, clock):
    extra = [Article(f"a{n}", f"第{n}种猫粮适合几个月的猫吃", (), f"{n} 个月") for n in range(4)]
    async with shop.begin() as session:
        await store.save_all(session, extra, by="小李", now=clock.now())
    before = (await publish.publish(shop, ["ship"], by="小李", now=clock.now())).version
    results = await asyncio.gather(*(publish.publish(shop, [one.id], by="小李", now=clock.now()) for one in extra))
    assert {one.id for one in extra} <= set(await seen(shop))
    assert sorted(one.version for one in results) == [before + n for n in range(1, 5)]


async def test_drafts_are_checked_before_anybody_publishes_them(shop, clock):
    await save(shop, clock, replace(FREE, question="满多少包邮", similar=()))
    assert [one for one in await publish.check(shop, now=clock.now()) if one.is_worse] == []
    worse = [one for one in await publish.check(shop, now=clock.now(), with_drafts=True) if one.is_worse]
    assert [one.case.question for one in worse] == ["运费怎么算"]


class Broken:
    """A model on a server that is away."""

    name = "broken"

    def embed(self, texts):
        raise ConnectionError


class Sending:
    """Knows one matter by its words."""

    name = "sending"

    def embed(self, texts):
        rows = [[float(any(word in text for word in ("发货", "寄", "出仓"))), 0.1 * len(text), 1.0] for text in texts]
        return np.array(rows, np.float32)


async def test_publishing_is_judged_by_the_tier_that_will_answer(shop, clock):
    asked = "东西哪天寄出来"
    async with shop.begin() as session:
        await regression.add(session, [asked], key="ship", by="小王", now=clock.now())
    semantics = Semantics(Sending())
    by_words = (await publish.check(shop, now=clock.now()))[-1]
    by_meaning = (await publish.check(shop, now=clock.now(), build=publish.judged_by(semantics)))[-1]
    semantics.close()
    assert by_words.case.question == by_meaning.case.question == asked
    assert by_meaning.grade > by_words.grade
    assert by_meaning.shown == "ship"


async def test_a_model_that_is_away_leaves_the_judging_to_words(shop, clock):
    semantics = Semantics(Broken())
    async with shop.begin() as session:
        await regression.add(session, ["什么时候发货"], key="ship", by="小王", now=clock.now())
    by_words = await publish.check(shop, now=clock.now())
    assert await publish.check(shop, now=clock.now(), build=publish.judged_by(semantics)) == by_words
    semantics.close()
