"""The demo's flash sale of the week before, settled: who claimed in which group, who paid, who let it go."""

import random
from collections.abc import Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot.demo.sale import OFFERS, item, synced_groups
from bot.flashsale import payments, sales
from bot.flashsale.allocator import allocate
from bot.flashsale.payments import Payment
from bot.flashsale.sales import Plan
from bot.flashsale.terms import Granted, Request
from bot.models.conversation import Conversation
from bot.models.sale import Channel
from bot.wecom.window import WINDOW
from crm.base.clock import SHANGHAI
from crm.base.db import Sessions
from crm.models.group import GroupMember

NAME = "上周社群秒杀"
DAYS_AGO, LASTS = 7, timedelta(hours=2)
PAYS = 85  # of a hundred who claimed
COME = 70


async def last_week(sessions: Sessions, chance: random.Random, *, now: datetime) -> None:
    """One transaction, so that the service never finds it open. Who can be written to now is left out."""
    opens_at = (now - timedelta(days=DAYS_AGO)).astimezone(SHANGHAI).replace(hour=20, minute=0, second=0, microsecond=0)
    groups = await synced_groups(sessions)
    async with sessions.begin() as session:
        plan = Plan(
            name=NAME, opens_at=opens_at, closes_at=opens_at + LASTS, items=[item(*offer) for offer in OFFERS],
            group_ids=groups, groups_only=False,
        )  # fmt: skip
        sale = await sales.plan(session, plan, now=opens_at - timedelta(days=1), chance=chance)
        await sales.announce(session, sale.id)
        await sales.follow_clock(session, now=opens_at)
        items = [one.id for one in await sales.items_of(session, sale.id)]
        await _claim_and_pay(session, items, chance, opens_at, now=now)
        await payments.release_due(session, now=opens_at + LASTS)
        for _ in range(2):  # closes, then settles
            await sales.follow_clock(session, now=opens_at + 2 * LASTS)


async def _claim_and_pay(
    session: AsyncSession, items: Sequence[int], chance: random.Random, opens_at: datetime, *, now: datetime
) -> None:
    requests = [
        Request(chance.choice(items), member_id, chance.choice((1, 1, 2)), "demo", Channel.H5, group_id)
        for group_id, member_id in chance.sample(await _quiet_people(session, now), k=COME)
    ]
    outcomes, _ = await allocate(await session.connection(), requests, now=opens_at + timedelta(seconds=2))
    for one in outcomes:
        if isinstance(one, Granted) and chance.randrange(100) < PAYS:
            paid_at = opens_at + timedelta(seconds=chance.randrange(20, 600))
            await payments.pay(session, Payment(f"demo-{one.no}", one.no, one.total_fen, paid_at), now=paid_at)


async def _quiet_people(session: AsyncSession, now: datetime) -> list[tuple[int, int]]:
    """(group, member) of those who cannot be written to now, each once."""
    talks = (Conversation.member_id == GroupMember.member_id, Conversation.last_customer_at > now - WINDOW)
    rows = await session.execute(
        sa.select(sa.func.min(GroupMember.group_id), GroupMember.member_id)
        .where(GroupMember.member_id.is_not(None), GroupMember.left_at.is_(None))
        .where(~sa.exists().where(*talks))
        .group_by(GroupMember.member_id)
        .order_by(GroupMember.member_id)
    )
    return [(group_id, member_id) for group_id, member_id in rows if member_id is not None]
