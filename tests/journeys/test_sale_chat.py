"""A flash sale by lines in the chat: what is on, a claim, one's own claims, a place in the queue, and its turn."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from bot.models.sale import Claim, ClaimLine
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
