"""The shop's pages of subscriptions: plans from a form, who has them, what is due by which way, the stock ahead."""

from datetime import timedelta

import sqlalchemy as sa

from campaigns import subscription_plans, subscriptions
from campaigns.models.subscription import Reminder, ReminderStatus, SubscriptionPlan, Way
from crm.base.clock import FrozenClock, local_day
from crm.base.db import Sessions
from crm.sight import Role
from tests.bot.web.staffroom import Staffroom
from tests.campaigns.subscribers import Club, club
from tests.factories import make

__all__ = ["club", "make"]
PATH = "/console/subscriptions"
PLAN = {
    "key": "猫粮", "title": "猫粮月套餐", "articles": "F1，全价猫粮 2kg，猫粮，2，129\nT1, 猫条, 零食, 1, 9.9",
    "price": "199.5",
    "every": "1", "unit": "months", "gift_every": "4", "locks_price": "yes", "on_holiday": "before",
}  # fmt: skip


async def test_an_empty_shop_is_told_what_to_do(staffroom: Staffroom) -> None:
    manager = await staffroom.enter(Role.MANAGER)
    page = await manager.text(PATH)
    assert "还没有套餐" in page and "built-in" not in page
    assert "没有这样的订阅" in await manager.text(f"{PATH}/members")
    assert "这几天没有要发的" in await manager.text(f"{PATH}/due?days=99")
    assert "接下来没有要备的货" in await manager.text(f"{PATH}/stock?weeks=x")


async def test_a_plan_is_made_changed_and_closed(staffroom: Staffroom, sessions: Sessions) -> None:
    manager = await staffroom.enter(Role.MANAGER)
    said = await (await manager.post(PATH, PLAN)).text()
    assert "已保存，第 1 版条款" in said and "¥199.50" in said and "买 3 送 1" in said
    assert "第 2 版条款" in await (await manager.post(PATH, PLAN | {"price": ""})).text()
    async with sessions.read() as session:
        view = await subscription_plans.get(session, "猫粮")
    assert (view.terms.price_fen, view.terms.items[1]["price_fen"]) == (2 * 12_900 + 990, 990)
    for wrong in (
        {"articles": "F1，粮"},
        {"price": "1.999"},
        {"every": "0"},
        {"gift_every": "1"},
        {"key": "a b"},
        {"articles": ""},
    ):
        refused = await manager.post(PATH, PLAN | wrong)
        assert refused.status == 422
        assert "读不懂" in (page := await refused.text())
        assert 'value="猫粮月套餐"' in page, "what was filled in is still there"
    assert (await manager.post(f"{PATH}/{view.plan.id}/close")).status in (302, 303)
    assert (await manager.post(f"{PATH}/999/close")).status == 404
    assert "不再接受订阅" in await manager.text(PATH)
    async with sessions.read() as session:
        assert await session.scalar(sa.select(SubscriptionPlan.closed_at)) is not None


async def test_who_may_look_and_who_may_change(staffroom: Staffroom) -> None:
    auditor = await staffroom.enter(Role.AUDITOR)
    assert "新建或修改套餐" not in await auditor.text(PATH)
    assert (await auditor.post(PATH, PLAN)).status == 403


async def test_members_due_and_stock(staffroom: Staffroom, club: Club, clock: FrozenClock, sessions: Sessions) -> None:
    await club.plan()
    first = local_day(clock.now()) + timedelta(days=8)
    views = [
        await club.subscriber(member=await club.make.member(name=name), first_on=first) for name in ("陈晓", "林夏")
    ]
    await club.day(first - timedelta(days=7))
    await club.do(subscriptions.pause, views[1])
    async with sessions.begin() as session:
        trail = [{"way": "broadcast", "why": "not_confirmed"}]
        values = {"status": ReminderStatus.SENT, "way": Way.TODO, "trail": trail, "look_at": None}
        await session.execute(sa.update(Reminder).values(**values))
    manager = await staffroom.enter(Role.MANAGER)
    everybody = await manager.text(f"{PATH}/members")
    assert "陈晓" in everybody and "待会员决定" in everybody
    active = await manager.text(f"{PATH}/members?status=active")
    assert "陈晓" in active and "林夏" not in active
    due = await manager.text(f"{PATH}/due?days=30")
    assert "员工待办" in due and "群发没有人确认" in due and "前 7 天" in due
    stock = await manager.text(f"{PATH}/stock?weeks=12")
    assert "全价猫粮 2kg" in stock and "data-chart" in stock
    english = await (await staffroom.enter(Role.MANAGER, language="en")).text(f"{PATH}/due")
    assert "To-do for staff" in english
    masked = await (await staffroom.enter(Role.AUDITOR)).text(f"{PATH}/members")
    assert "陈晓" not in masked
