"""What an article looks like on the phone: blanks, links, pictures, menus, and answers that are not for everybody."""

import random
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from bot.bootstrap import Service, running
from bot.faq import publish, store
from bot.faq.articles import Article, Link
from bot.models.faq import FaqPicture
from crm import contacts, tags
from tests.town import SERVICER, Town, town

PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)


@pytest.fixture
async def shop(database_url: str, tmp_path: Path) -> AsyncIterator[Town]:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "sizes.png").write_bytes(PNG)
    (tmp_path / "secret.png").write_bytes(PNG)
    folder = tmp_path / "pictures"
    async with town(database_url, tmp_path, faq_pictures=folder, line_gap=timedelta(0)) as opened:
        yield opened


async def put(shop: Town, *articles: Article) -> None:
    app, now = shop.service.app, shop.clock.now()
    async with app.sessions.begin() as session:
        await store.save_all(session, articles, by="王小美", now=now)
    await publish.publish(app.sessions, [one.id for one in articles], by="王小美", now=now)
    app.peers.tap("faq")
    await shop.until(lambda: all(one.id in app.faq.articles for one in articles))


async def ask(shop: Town, question: str, customer: str | None = None) -> str:
    """Ask as somebody and wait for the bot's next word; returns who asked."""
    customer = customer or shop.customer()
    before = len(shop.heard(customer))
    shop.says(customer, question)
    await shop.until(lambda: len(shop.heard(customer)) > before)
    return customer


async def test_blanks_are_filled_for_the_one_who_asks(shop: Town) -> None:
    await put(shop, Article("hi", "会员日是哪一天", (), "{会员名}您好，{店名}每月 8 号会员日。您的订单：{最近订单}。"))
    customer = await ask(shop, "会员日是哪一天", shop.customer("{店名}‮小林\n"))
    name = shop.heard(customer)[0].split("您好")[0]
    assert name in {"您", "{店名}小林"}, "WeCom tells the name a moment later"
    assert shop.heard(customer)[0].endswith("您好，毛球小铺每月 8 号会员日。您的订单：暂无订单。")


async def test_a_menu_below_an_answer_leads_on(shop: Town) -> None:
    await put(shop, Article("buy", "第一次买要注意什么", (), "看看这几个：", menu=("ship", "free", "gone")))
    customer = await ask(shop, "第一次买要注意什么")
    (menu,) = [one["msgmenu"] for one in shop.phone(customer) if one["msgtype"] == "msgmenu"]
    assert [one["click"]["content"] for one in menu["list"]] == ["多久发货", "满多少包邮"]
    shop.says(customer, menu["list"][1]["click"]["content"], menu["list"][1]["click"]["id"])
    await shop.until(lambda: len(shop.heard(customer)) == 2)
    assert shop.heard(customer)[1] == "【包邮】满 88 元包邮。"


async def test_a_picture_is_uploaded_ahead_and_follows_the_words(shop: Town) -> None:
    link = Link("https://example.com/sizes", "尺码表", "量好再选", "sizes.png")
    await put(shop, Article("size", "狗衣服怎么选尺码", (), "按胸围选。", link=link, image="sizes.png"))
    shop.service.app.peers.tap("pictures")
    await until_tried(shop, "sizes.png")
    customer = await ask(shop, "狗衣服怎么选尺码")
    await shop.until(lambda: len(shop.heard(customer)) == 3)
    kinds = [one["msgtype"] for one in shop.phone(customer) if one["from"]["kind"] == "bot"]
    assert kinds == ["text", "link", "image"]


async def test_a_picture_that_cannot_be_had_leaves_the_words(shop: Town) -> None:
    link = Link("https://example.com/x", "清单", "", "../secret.png")
    await put(shop, Article("list", "到家清单有哪些东西", (), "都在这里。", link=link))
    shop.service.app.peers.tap("pictures")
    picture = await until_tried(shop, "../secret.png")
    assert picture.media_id is None and "outside" in (picture.error or "")
    customer = await ask(shop, "到家清单有哪些东西")
    assert shop.heard(customer) == ["都在这里。\n清单：https://example.com/x"]


async def test_an_answer_for_black_cards_is_not_told_to_others(shop: Town) -> None:
    await put(shop, Article("vip", "黑卡生日有什么礼物", (), "黑卡生日送猫爬架。", audience="黑卡"))
    stranger = await ask(shop, "黑卡生日有什么礼物")
    assert not any("猫爬架" in words for words in shop.heard(stranger))
    shop.says(stranger, "黑卡生日有什么礼物", "faq:vip")
    await shop.until(lambda: len(shop.heard(stranger)) > 1)
    assert not any("猫爬架" in words for words in shop.heard(stranger)), "not by a forged tap either"

    friend = shop.customer()
    await bear(shop, friend, "黑卡")
    await ask(shop, "黑卡生日有什么礼物", friend)
    assert shop.heard(friend) == ["黑卡生日送猫爬架。"]


async def test_a_publication_reaches_a_second_service_of_the_same_database(shop: Town, database_url: str) -> None:
    if database_url.startswith("sqlite"):
        return  # one process, by a lock on the file
    async with running(shop.service.settings, clock=shop.clock, chance=random.Random(8), works=False) as other:
        await put(shop, Article("new", "你们几点关门", (), "晚上九点。"))
        await shop.until(lambda: _knows(other, "new"))
        assert other.app.faq.version == shop.service.app.faq.version


def _knows(service: Service, key: str) -> bool:
    return key in service.app.faq.articles


async def bear(shop: Town, customer: str, tag: str) -> None:
    """The customer is a contact of a colleague who has put this corp tag on them."""
    now = shop.clock.now()
    async with shop.service.app.sessions.begin() as session:
        mark = tags.TagListing(wecom_id="t1", name=tag)
        await tags.take_groups(session, [tags.TagGroupListing(wecom_id="g1", name="等级", tags=(mark,))])
        contact = await contacts.added(session, userid=SERVICER, external_userid=customer, at=now, state=None, now=now)
        assert contact is not None
        await tags.bear(session, {contact.id: ["t1"]}, now=now)


async def until_tried(shop: Town, source: str) -> FaqPicture:
    for _ in range(200):
        async with shop.service.app.sessions.read() as session:
            found = await session.scalar(sa.select(FaqPicture).where(FaqPicture.source == source))
        if found is not None:
            return found
        await shop.quiet(0.05)
    pytest.fail(f"{source} was not tried")
