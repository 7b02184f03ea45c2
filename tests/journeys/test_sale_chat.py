"""A flash sale by lines in the chat: what is on, a claim, one's own claims, a place in the queue, and its turn."""

import random
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from bot.flashsale import payments, sales
from bot.flashsale.payments import Payment
from bot.flashsale.sales import Plan
from bot.models.sale import Claim, ClaimLine, SaleStatus
from tests.bot.flashsale.stall import item
from tests.journeys.test_sale_pages import open_sale, statuses
from tests.town import Town, town


@pytest.fixture
async def shop(database_url: str, tmp_path: Path) -> AsyncIterator[Town]:
    async with town(database_url, tmp_path) as opened:
        yield opened


async def reads(shop: Town, customer: str, *words: str) -> str:
    """Wait until one message of the bot's holds all these words."""
    return str(
        await shop.until(
            lambda: next((text for text in shop.heard(customer) if all(one in text for one in words)), None)
        )
    )


async def test_listed_claimed_and_looked_up(shop: Town) -> None:
    sale = await open_sale(shop, opens_in=timedelta(minutes=2))
    chen = shop.customer("陈晓")
    shop.says(chen, "秒杀")
    told = await reads(shop, chen, "【周四秒杀】", "A1", "19.9", "共 2 件")
    assert "开抢" in told
    shop.says(chen, "抢 A1")
    await reads(shop, chen, "还没开抢", "准时开始")
    shop.simulator.advance(120)
    shop.says(chen, "抢a1 x2")
    await reads(shop, chen, "抢到了", "× 2", "39.8 元")
    assert await statuses(shop, sale) == (2, 0)
    shop.says(chen, "我的秒杀")
    await reads(shop, chen, "冻干鸡胸肉 500g × 2", "待付款")
    shop.says(chen, "抢 Z9")
    await reads(shop, chen, "没有找到代号是 Z9")


async def test_a_code_of_letters_is_meant_too_and_one_that_ends_like_a_count(shop: Town) -> None:
    goods = [item("APPLE1"), item("KX2"), item("KX", stock=5, limit_each=4), item("GIFT")]
    now = shop.clock.now()
    plan = Plan(name="水果秒杀", opens_at=now, closes_at=now + timedelta(hours=2), items=goods)
    async with shop.service.app.sessions.begin() as session:
        sale = await sales.plan(session, plan, now=now, chance=random.Random(3))
        await sales.announce(session, sale.id)
    chen = shop.customer("陈晓")
    for line, told in (("抢apple1", "冻干 APPLE1 × 1"), ("抢 KX2", "冻干 KX2 × 1"), ("抢kx3份", "代号是 KX3"),
                       ("抢KXx3", "冻干 KX × 3"), ("抢 gift 1份", "冻干 GIFT × 1")):  # fmt: skip
        shop.says(chen, line)
        await reads(shop, chen, told)
        shop.simulator.advance(3)  # lines within two seconds share one window of five answers


async def test_of_a_sale_that_is_settled_one_hears_that_it_is_sold_out_or_over(shop: Town) -> None:
    sale = await open_sale(shop, stock=1)
    chen, lin = shop.customer("陈晓"), shop.customer("林立")
    shop.says(chen, "抢 A1")
    await reads(shop, chen, "抢到了")
    async with shop.service.app.sessions.begin() as session:
        (claim,) = (await session.scalars(sa.select(Claim))).all()
        paid = Payment("t1", claim.no, claim.total_fen, shop.clock.now())
        await payments.pay(session, paid, now=shop.clock.now())

    async def settled() -> bool:
        async with shop.service.app.sessions.read() as session:
            return (await sales.get(session, sale.code)).status is SaleStatus.SETTLED

    while not await settled():
        await shop.quiet(0.05)
    for number, line in enumerate(("抢 A1", "排队 A1"), start=1):
        shop.says(lin, line)
        await shop.heard_times(lin, number)
        assert "已售罄" in shop.heard(lin)[-1]
    shop.simulator.advance(8 * 86_400)
    shop.says(lin, "抢 A1")
    await reads(shop, lin, "没有找到代号是 A1")


async def test_a_line_that_is_worked_off_again_is_the_same_claim_and_one_answer(shop: Town) -> None:
    sale = await open_sale(shop)
    chen = shop.customer("陈晓")
    shop.says(chen, "抢 A1")
    await reads(shop, chen, "抢到了")
    async with shop.service.app.sessions.begin() as session:  # as if the process had died before the line was done
        await session.execute(sa.update(ClaimLine).values(done_at=None))
    shop.service.app.peers.tap("claim-lines")

    async def is_done() -> bool:
        async with shop.service.app.sessions.read() as session:
            return await session.scalar(sa.select(sa.func.count()).where(ClaimLine.done_at.is_(None))) == 0

    for _ in range(200):
        if await is_done():
            break
        await shop.quiet(0.05)
    await shop.quiet()
    assert sum("抢到了" in text for text in shop.heard(chen)) == 1
    assert await statuses(shop, sale) == (1, 0)


async def test_who_waits_hears_when_it_is_their_turn(shop: Town) -> None:
    sale = await open_sale(shop, stock=1)
    chen, lin = shop.customer("陈晓"), shop.customer("林立")
    shop.says(chen, "抢 A1")
    await reads(shop, chen, "抢到了")
    shop.says(lin, "抢 A1")
    await reads(shop, lin, "抢光了", "排队 A1")
    shop.says(lin, "排队 A1")
    await reads(shop, lin, "第 1 位")
    shop.simulator.advance(15 * 60)
    await reads(shop, lin, "候补轮到您了", "19.9 元")
    assert await statuses(shop, sale) == (1, 0)
    async with shop.service.app.sessions.read() as session:
        assert await session.scalar(sa.select(sa.func.count()).select_from(Claim)) == 2
