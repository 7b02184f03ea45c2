"""The demo's flash sale: announced when the shop opens, its link in every customer group, open a minute later."""

import random
from datetime import datetime, timedelta

from bot.demo import shop
from bot.flashsale import sales
from bot.flashsale.sales import ItemPlan, Plan
from bot.simulator.simulator import Simulator
from crm.base.db import Sessions

NAME = "周四社群秒杀"
PAY_KEY = "demo-pay-key-not-a-real-one"
OPENS_IN, LASTS = timedelta(minutes=1), timedelta(hours=2)
OFFERS = (("A1", "SN-FD", 1990, 20), ("A2", "CL-6L", 5900, 10), ("A3", "TY-BALL", 990, 30), ("A4", "CR-BRUSH", 1990, 1))


async def announce(simulator: Simulator, sessions: Sessions, url: str, chance: random.Random, *, now: datetime) -> None:
    """Plan it for everybody, and let each group's owner post the link."""
    goods = {sku: (name, fen) for sku, name, _, fen in shop.GOODS}
    items = [
        ItemPlan(
            code=code, sku=sku, name=goods[sku][0], price_fen=fen, list_price_fen=goods[sku][1], stock=stock,
            limit_each=min(2, stock),
        )
        for code, sku, fen, stock in OFFERS
    ]  # fmt: skip
    opens_at = now + OPENS_IN
    wanted = Plan(name=NAME, opens_at=opens_at, closes_at=opens_at + LASTS, items=items)
    async with sessions.begin() as session:
        sale = await sales.plan(session, wanted, now=now, chance=chance)
        await sales.announce(session, sale.id)
    words = f"{NAME}一分钟后开抢：{url}/h5/sales/{sale.code}"
    for number, owner in enumerate(shop.GROUPS.values(), start=1):
        simulator.world.groups.say(f"wrDEMO{number:010d}", owner, "text", {"content": words})
