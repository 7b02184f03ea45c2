"""Customers who want a person, at the account that is answered from our desk, and answers kept ready for them."""

import asyncio
from collections.abc import Sequence
from datetime import datetime

from bot.demo import shop
from bot.desk import canned
from bot.simulator.simulator import Simulator
from crm.base.db import Sessions

WORDS = (
    ("满多少包邮？", "转人工"),
    ("收到的猫粮袋子破了，撒了一半，我要投诉！",),
    ("猫砂发错了，想退款",),
)
CANNED = (
    ("你好", "开场", "{{客户}}您好，我是{{店名}}的{{我}}，已经看到您说的情况，马上帮您处理。"),
    ("破损", "包装破损", "实在抱歉让您收到破损的商品。麻烦拍一张外包装和面单的照片，我这边今天就给您补发 [[商品]]。"),
    ("物流", "查物流", "您的订单 [[单号]] 已由 [[快递]] 发出，预计 [[几天]] 天到。"),
)


async def fill(simulator: Simulator, sessions: Sessions, customers: Sequence[str], *, now: datetime) -> None:
    """Each says their lines one after the other, as people do."""
    async with sessions.begin() as session:
        for code, title, text in CANNED:
            await canned.save(session, code, title=title, text=text, by="owner", now=now)
    for customer, lines in zip(customers[1:], WORDS, strict=False):
        simulator.world.customer_enters(customer, shop.KF_DESK)
        for words in lines:
            await asyncio.sleep(0.5)
            simulator.world.customer_says(customer, shop.KF_DESK, words)
