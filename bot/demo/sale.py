"""The demo's flash sale: announced when the shop opens, in every customer group by its owner, open a minute later.

Most owners tap at once; two groups' tasks are left in 圆圆's client, for whoever looks at the demo to confirm.
"""

import asyncio
import random
from datetime import timedelta

import sqlalchemy as sa

from bot.demo import shop, sync
from bot.flashsale import announcing, sales
from bot.flashsale.sales import ItemPlan, Plan
from bot.simulator.simulator import Simulator
from bot.simulator.tasks import WAITING
from campaigns.guard_rules import Gate
from campaigns.words import Words
from crm.base.clock import Clock
from crm.base.db import Sessions
from crm.models.group import Group

NAME = "周四社群秒杀"
PAY_KEY = "demo-pay-key-not-a-real-one"
OPENS_IN, LASTS = timedelta(minutes=1), timedelta(hours=2)
OFFERS = (("A1", "SN-FD", 1990, 20), ("A2", "CL-6L", 5900, 10), ("A3", "TY-BALL", 990, 30), ("A4", "CR-BRUSH", 1990, 1))
LEFT_TO_CONFIRM = ("毛球小铺 · 猫咪福利 2 群", "毛球小铺 · 猫咪福利 3 群")
PATIENCE = 15  # seconds


async def announce(
    simulator: Simulator, sessions: Sessions, url: str, chance: random.Random, *, gate: Gate, words: Words, clock: Clock
) -> None:
    """Plan it for everybody, with a link for each group, and let the owners post it."""
    group_ids = await synced_groups(sessions)
    async with sessions.begin() as session:
        now = clock.now()
        sale = await sales.plan(session, _plan(group_ids, clock), now=now, chance=chance)
        await announcing.announce(session, sale, gate=gate, words=words, public_url=url, now=now)
    await _tap(simulator, len(group_ids))


def item(code: str, sku: str, fen: int, stock: int) -> ItemPlan:
    """One of the shop's goods at a sale's price."""
    name, list_price_fen = next((name, price) for each, name, _, price in shop.GOODS if each == sku)
    return ItemPlan(
        code=code, sku=sku, name=name, price_fen=fen, list_price_fen=list_price_fen, stock=stock,
        limit_each=min(2, stock),
    )  # fmt: skip


def _plan(group_ids: list[int], clock: Clock) -> Plan:
    items = [item(*offer) for offer in OFFERS]
    opens_at = clock.now() + OPENS_IN
    return Plan(
        name=NAME, opens_at=opens_at, closes_at=opens_at + LASTS, items=items, group_ids=group_ids, groups_only=False
    )


async def synced_groups(sessions: Sessions) -> list[int]:
    """The groups with their owners, once the first sync has read them all."""
    owned = sa.select(Group.id).where(Group.owner_id.is_not(None))
    return await sync.read(sessions, owned, len(shop.GROUPS), seconds=PATIENCE)


async def _tap(simulator: Simulator, expected: int) -> None:
    """The owners open their clients and tap 发送, but for some groups."""
    tasks = simulator.world.tasks
    for _ in range(10 * PATIENCE):
        posts = [task for task in tasks.all.values() if task.chat_type == "group"]  # not those to single customers
        if len(posts) >= expected:
            break
        await asyncio.sleep(0.1)
    for task in posts:
        for userid, share in task.shares.items():
            names = {simulator.world.groups.all[chat_id].name for chat_id in share.targets}
            if share.status == WAITING and not names & set(LEFT_TO_CONFIRM):
                tasks.send(userid, task.msgid)
