"""What a customer may like, asked for in the chat and looked at on the phone, after a night's count."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from campaigns import item_counts
from crm import orders
from crm.order_terms import Line, Told
from tests.journeys.test_points import ask, member_of
from tests.journeys.test_sale_pages import at, follower, page, phone
from tests.town import Town, town

NAMES = {"F": "猫粮", "L": "猫砂", "T": "逗猫棒"}


@pytest.fixture
async def shop(database_url: str, tmp_path: Path) -> AsyncIterator[Town]:
    async with town(database_url, tmp_path, line_gap=timedelta(0), night_hour=23) as opened:
        yield opened


async def buys(shop: Town, customer: str, skus: str, days_ago: int) -> None:
    member, day = await member_of(shop, customer), shop.clock.now() - timedelta(days=days_ago)
    lines = [Line(sku=one, name=NAMES[one], category="猫", price_fen=1000) for one in skus]
    told = Told(
        source="shop", external_no=f"{member.id}-{days_ago}", member_id=member.id, placed_at=day, paid_at=day,
        total_fen=1000 * len(skus), lines=lines,
    )  # fmt: skip
    async with shop.service.app.sessions.begin() as session:
        await orders.place(session, told, now=shop.clock.now())


async def test_what_goes_with_it_and_not_what_was_just_bought(shop: Town) -> None:
    one, other = follower(shop, "陈晓"), shop.customer("林立")
    assert "常和" not in await ask(shop, one, "推荐")  # nothing was counted yet
    await ask(shop, other, "你好")
    await buys(shop, one, "F", 90)
    for days_ago in (5, 6):
        await buys(shop, other, "FLT", days_ago)
    await item_counts.recount(shop.service.app.sessions, now=shop.clock.now())
    said = await ask(shop, one, "有什么推荐")
    assert "· 猫砂（常和「猫粮」一起买）" in said and "· 逗猫棒" in said and "· 猫粮" not in said
    async with phone(shop, one) as http:
        assert "常和「猫粮」一起买" in await page(http, at(shop, "/h5/suggestions"))
    await buys(shop, one, "L", 0)
    said = await ask(shop, one, "猜我喜欢")
    assert "· 逗猫棒" in said and "· 猫砂（" not in said
    assert "还没有适合您的推荐" in await ask(shop, other, "推荐")
