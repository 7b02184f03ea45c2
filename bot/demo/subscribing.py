"""The demo's subscriptions: two plans, members who have had theirs for two months, and one delivery to be told of."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns import subscription_days, subscription_orders, subscription_plans, subscriptions
from campaigns.models.subscription import Cycle, CycleStatus, Mode
from campaigns.subscription_plans import PlanDraft
from crm.base.clock import local_day
from crm.base.db import Sessions

FOOD, SNACKS = "猫粮", "零食"
PLANS = (
    {"key": FOOD, "title": "猫粮月套餐", "price_fen": 12_900,
     "items": [{"sku": "SUB-F1", "name": "全价猫粮 2kg", "category": "猫粮", "price_fen": 15_900}]},
    {"key": SNACKS, "title": "零食双周盒", "unit": "days", "every": 14, "price_fen": 6_900, "locks_price": False,
     "items": [{"sku": "SUB-T1", "name": "冻干猫条", "category": "零食", "quantity": 3, "price_fen": 1_990},
               {"sku": "SUB-T2", "name": "洁齿饼干", "category": "零食", "price_fen": 2_590}]},
)  # fmt: skip
BEGAN = 58  # days ago: the first delivery, so that the third of a monthly plan is a few days ahead
MEMBERS = 10  # the first of them, whose phone is looked at, has only just begun


async def begin(sessions: Sessions, members: Sequence[int], *, now: datetime) -> None:
    """What happened before the shop opens today; reminders of what is due go out by themselves."""
    then = now - timedelta(days=BEGAN + 1)
    async with sessions.begin() as session:
        for told in PLANS:
            await subscription_plans.put(session, PlanDraft.model_validate(told), now=then)
        for number, member_id in enumerate(members[1:MEMBERS]):
            await subscriptions.sign_up(
                session, member_id, SNACKS if number % 3 == 2 else FOOD, mode=list(Mode)[number % 2], now=then
            )
        await _pay(session, now=then)
    for days in (BEGAN - 14, BEGAN - 28, BEGAN - 31, 15, 1):
        at = now - timedelta(days=days)
        async with sessions.begin() as session:
            for step in (subscription_days.begin, subscription_days.order_due, subscription_days.miss):
                await step(session, now=at)
            await _pay(session, now=at)
    async with sessions.begin() as session:
        first_on = local_day(now) + timedelta(days=12)
        await subscriptions.sign_up(session, members[0], FOOD, mode=Mode.DEFAULT, first_on=first_on, now=now)


async def _pay(session: AsyncSession, *, now: datetime) -> None:
    """Everybody pays what was ordered."""
    owed = await session.scalars(sa.select(Cycle).where(Cycle.status == CycleStatus.ORDERED))
    for one in owed.all():
        await subscription_orders.pay(
            session, one.order_no, paid_fen=one.price_fen, paid_at=now, transaction_id=f"demo-{one.order_no}", now=now
        )
