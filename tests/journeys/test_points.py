"""A customer's points and level, by chat over the simulator: check in, buy, look, and a refund that takes its share."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from bot.faq import publish, store
from bot.faq.articles import Article
from bot.handoff import standing
from crm import identities, level_programme, loyalty_rules, orders
from crm.level_programme import LevelTold, ProgrammeTold
from crm.models.loyalty import PointAccount
from crm.models.member import IdentityKind, Member
from crm.models.order import Order
from crm.order_terms import Told
from crm.point_rules import PointRules
from tests.town import SERVICER, Town, town

LEVELS = ProgrammeTold(
    levels=[
        LevelTold(name="普通", threshold_fen=0),
        LevelTold(name="银卡", threshold_fen=50_000),
        LevelTold(name="黑卡", threshold_fen=500_000),
    ]
)


@pytest.fixture
async def shop(database_url: str, tmp_path: Path) -> AsyncIterator[Town]:
    async with town(database_url, tmp_path, line_gap=timedelta(0)) as opened:
        now = opened.clock.now()
        async with opened.service.app.sessions.begin() as session:
            await loyalty_rules.set_points(session, PointRules(), now=now)
            await level_programme.define(session, LEVELS, now=now)
        yield opened


async def ask(shop: Town, customer: str, words: str) -> str:
    """What the bot says to it. Nobody types several messages a second, in which WeCom's instants are told."""
    before = len(shop.heard(customer))
    shop.clock.advance(seconds=2)
    shop.says(customer, words)
    await shop.until(lambda: len(shop.heard(customer)) > before)
    return shop.heard(customer)[-1]


async def member_of(shop: Town, customer: str) -> Member:
    async with shop.service.app.sessions.read() as session:
        found = await identities.find_by(session, IdentityKind.EXTERNAL_USERID, customer)
    assert found is not None
    return found


async def buys(shop: Town, customer: str, fen: int) -> Order:
    member, now = await member_of(shop, customer), shop.clock.now()
    told = Told(source="shop", external_no=f"N{fen}", member_id=member.id, placed_at=now, total_fen=fen, paid_at=now)
    async with shop.service.app.sessions.begin() as session:
        return await orders.place(session, told, now=now)


async def until_pending(shop: Town, customer: str, points: int) -> None:
    """Until the reaction to an order has been at the ledger."""
    member, found = await member_of(shop, customer), None
    for _ in range(100):
        async with shop.service.app.sessions.read() as session:
            found = await session.scalar(sa.select(PointAccount.pending).where(PointAccount.member_id == member.id))
        if found == points:
            return
        shop.service.app.peers.tap("events:campaigns")
        await shop.quiet(0.1)
    raise AssertionError(f"{found} points are pending, not {points}")


async def test_a_customer_checks_in_buys_and_reads_the_balance(shop: Town) -> None:
    customer = shop.customer()
    assert await ask(shop, customer, "签到") == (
        "签到成功，连续 1 天，获得 2 积分。您现在有 2 积分可用。\n再连续签到 6 天，多得 10 积分。"
    )
    assert await ask(shop, customer, "今日签到！") == "今天已经签到过啦，连续 1 天，明天再来～"
    assert await ask(shop, customer, "我的积分") == "您现在有 2 积分可用。"
    assert await ask(shop, customer, "会员等级") == "您现在是普通。\n近 365 天实付 0 元，再消费 500 元就能升到银卡。"
    order = await buys(shop, customer, 60_000)
    await until_pending(shop, customer, 600)
    assert await ask(shop, customer, "查一下我的积分") == (
        "您现在有 2 积分可用。\n另有 600 积分待入账，最早 2026 年 3 月 25 日到账。"
    )
    assert await ask(shop, customer, "我的等级") == (
        "您现在是银卡。有效期到 2027 年 3 月 9 日。\n近 365 天实付 600 元，再消费 4400 元就能升到黑卡。"
    )
    now = shop.clock.now()
    async with shop.service.app.sessions.begin() as session:
        await orders.refund(
            session, "shop", "R1", order_no=order.external_no, amount_fen=20_000, refunded_at=now, now=now
        )
    await until_pending(shop, customer, 400)
    assert (await ask(shop, customer, "积分明细")).split("\n") == [
        "最近的积分记录：",
        "03-10  -200  退款扣回",
        "03-10  +600  购物",
        "03-10  +2  签到",
    ]
    assert (await ask(shop, customer, "会员等级")).startswith("您现在是普通。"), "the refund undid the fresh rise"
    assert await ask(shop, customer, "积分怎么用") == "【积分】100 积分抵 1 元。", "what is asked about is an article's"


async def test_a_level_shows_to_staff_and_is_not_given_by_marking(shop: Town) -> None:
    silver, plain = shop.customer("银卡客户"), shop.customer("普通客户")
    for customer in (silver, plain):
        await ask(shop, customer, "签到")
        shop.simulator.world.contacts.add(SERVICER, customer)
    await buys(shop, silver, 60_000)
    await shop.until(lambda: marks(shop, silver) == {"银卡"}, seconds=20)
    [corp_tag] = shop.simulator.world.contacts.get(SERVICER, silver).tags
    shop.simulator.world.contacts.edit(SERVICER, plain, remark=None, add=[corp_tag], remove=[])
    assert marks(shop, plain) == {"银卡"}
    app, member = shop.service.app, await member_of(shop, plain)
    async with app.sessions.read() as session:
        assert await standing.level_of(session, member.id) == "普通", "whatever the mark says"
        assert await standing.names_of(session, member.id) == {"普通"}
    await shop.until(lambda: marks(shop, plain) == set(), seconds=20)


def marks(shop: Town, customer: str) -> set[str]:
    """Names of the corp tags that the servicer sees on the customer."""
    world = shop.simulator.world
    borne = world.contacts.get(SERVICER, customer).tags
    return {found[1].name for mark in borne if (found := world.tags.find(mark))}


async def test_blanks_of_points_and_level_are_filled(shop: Town) -> None:
    app, now, customer = shop.service.app, shop.clock.now(), shop.customer()
    article = Article("mine", "会员中心在哪里看", (), "您是{等级}，有 {积分} 分。")
    async with app.sessions.begin() as session:
        await store.save_all(session, [article], by="王小美", now=now)
    await publish.publish(app.sessions, ["mine"], by="王小美", now=now)
    app.peers.tap("faq")
    await shop.until(lambda: "mine" in app.faq.articles)
    await ask(shop, customer, "签到")
    await ask(shop, customer, "会员等级")
    assert await ask(shop, customer, "会员中心在哪里看") == "您是普通，有 2 分。"
