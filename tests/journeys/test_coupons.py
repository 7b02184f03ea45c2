"""A customer's coupons by chat over the simulator: take one, look, use it on an order, trade points for another."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from bot import texts
from campaigns import ladders, offers
from campaigns.models.offer import Coupon, CouponStatus
from crm import orders, points
from crm.order_terms import Line, Told
from crm.point_ledger import Cause
from tests.journeys.test_points import ask, member_of
from tests.town import Town, town


@pytest.fixture
async def shop(database_url: str, tmp_path: Path) -> AsyncIterator[Town]:
    async with town(database_url, tmp_path, line_gap=timedelta(0)) as opened:
        yield opened


async def put(shop: Town, key: str, **more: Any) -> None:
    now = shop.clock.now()
    terms = {"key": key, "title": key, "kind": "amount", "amount_fen": 2000, "threshold_fen": 10_000,
             "starts_at": now, "valid_days": 7, "claimable": True}  # fmt: skip
    async with shop.service.app.sessions.begin() as session:
        await offers.put(session, offers.Draft.model_validate(terms | more), now=now)


async def order(shop: Town, customer: str, fen: int, *, paid: bool = False) -> None:
    member, now = await member_of(shop, customer), shop.clock.now()
    told = Told(
        source="shop", external_no=f"N{fen}", member_id=member.id, placed_at=now, total_fen=fen + 800,
        lines=[Line(sku="F1", name="猫粮", category="猫粮", price_fen=fen)], paid_at=now if paid else None,
    )  # fmt: skip
    async with shop.service.app.sessions.begin() as session:
        await orders.place(session, told, now=now)


async def coupons_of(shop: Town) -> list[Coupon]:
    async with shop.service.app.sessions.read() as session:
        return list(await session.scalars(sa.select(Coupon).order_by(Coupon.id)))


async def test_take_look_use_and_pay(shop: Town) -> None:
    customer = shop.customer()
    assert await ask(shop, customer, "我的券") == texts.COUPONS_NONE
    assert await ask(shop, customer, "领券") == texts.CLAIM_NONE
    await put(shop, "新客券", stock=5)
    assert "领券 新客券  满 100 元减 20 元" in await ask(shop, customer, "领券")
    claimed = await ask(shop, customer, "领券 新客券")
    (coupon,) = await coupons_of(shop)
    assert coupon.code in claimed and "03-17 00:00 前有效" in claimed
    assert await ask(shop, customer, "领优惠券新客券") == texts.REFUSALS["offer.limit_reached"].format(per_member=1)
    assert coupon.code in await ask(shop, customer, "看看我的优惠券")
    assert "没有待付款的订单" in await ask(shop, customer, f"用券 {coupon.code}")
    await order(shop, customer, 9000)
    assert "还差 10 元" in await ask(shop, customer, f"用券{coupon.code.lower()}")
    await order(shop, customer, 12_000)
    assert "省了 20 元，应付 108 元" in await ask(shop, customer, f"用券 {coupon.code}")
    assert "已用在订单 N12000" in await ask(shop, customer, "我的券")
    await order(shop, customer, 12_000, paid=True)
    app = shop.service.app
    for _ in range(100):
        (coupon,) = await coupons_of(shop)
        if coupon.status is CouponStatus.REDEEMED:
            break
        await app.clock.sleep(0.05)
    assert (coupon.status, coupon.order_no, coupon.discount_fen) == (CouponStatus.REDEEMED, "N12000", 2000)
    assert await ask(shop, customer, f"用券 {coupon.code}") == texts.REFUSALS["coupon.spent"]
    assert await ask(shop, customer, "用券 ABCD2345") == texts.REFUSALS["coupon.not_found"]
    assert "没有找到" in await ask(shop, customer, "领券 没有的券")


async def test_points_buy_a_coupon_once_and_only_if_there_are_enough(shop: Town) -> None:
    customer = shop.customer()
    await put(shop, "十元券", points_price=100, claimable=False, per_member=2, threshold_fen=0, amount_fen=1000)
    assert "兑换 十元券  100 积分，减 10 元" in await ask(shop, customer, "积分商城")
    assert "积分不够" in await ask(shop, customer, "兑换 十元券")
    assert await coupons_of(shop) == []
    member, now = await member_of(shop, customer), shop.clock.now()
    async with shop.service.app.sessions.begin() as session:
        await points.grant(session, member.id, 150, cause=Cause("manual", "1"), reason="见面礼", by="adou", now=now)
    assert "用 100 积分换到了" in await ask(shop, customer, "兑换 十元券")
    assert "积分不够：需要 100 分，您现在可用 50 分" in await ask(shop, customer, "兑换 十元券")
    async with shop.service.app.sessions.read() as session:
        assert (await points.balance_of(session, member.id, now=shop.clock.now())).active == 50
    assert len(await coupons_of(shop)) == 1
    assert "没有找到" in await ask(shop, customer, "领券 十元券")  # not for taking


async def test_a_tiered_gift_is_taken_by_its_name_and_once(shop: Town) -> None:
    customer = shop.customer()
    await put(shop, "减5", amount_fen=500, threshold_fen=0, claimable=False)
    tiers = [
        {"name": "老客", "audience": {"is": "lifetime", "orders": {"least": 1}}, "offer": "减5"},
        {"name": "新朋友", "points": 30},
    ]
    draft = ladders.LadderDraft.model_validate({"key": "会员礼", "title": "会员礼", "tiers": tiers, "claimable": True})
    async with shop.service.app.sessions.begin() as session:
        await ladders.put(session, draft, now=shop.clock.now())
    assert await ask(shop, customer, "领券 会员礼") == "这份是给您的：\n30 积分"
    assert await ask(shop, customer, "领券 会员礼") == "这份是给您的：\n30 积分"
    member = await member_of(shop, customer)
    async with shop.service.app.sessions.read() as session:
        assert (await points.balance_of(session, member.id, now=shop.clock.now())).active == 30
    other = shop.customer("李梅")
    await ask(shop, other, "你好")
    await order(shop, other, 5000, paid=True)
    assert (await ask(shop, other, "领券 会员礼")).startswith("您是我们的老客会员，这份是给您的：\n")
