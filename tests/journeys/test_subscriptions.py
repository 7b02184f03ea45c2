"""A member's year of a subscription, in the chat over the simulator, with the clock moved through the months.

16 deliveries that came, of which four were free, and two that were skipped: a year and a half of 买3送1.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from bot.settings import GateSettings, HandoffSettings
from bot.subscribing import words
from bot.subscribing.ways import SubscriptionWatch
from bot.web.pay_notice import signature
from campaigns import subscription_plans, subscriptions
from campaigns.models.subscription import Cycle, CycleStatus, Mode, Reminder, ReminderStatus, Way
from campaigns.subscription_plans import PlanDraft
from crm.base.clock import day_start, local_day
from crm.models.order import Order
from crm.models.private import PrivateValue
from tests.journeys.test_campaigns import befriended
from tests.journeys.test_points import ask, member_of
from tests.town import PAY_KEY, SERVICER, Town, town
from tests.town import words as read

BOSS = "boss"
KEY = "dGVzdC1rZXktdGVzdC1rZXktdGVzdC1rZXktdGVzdCE="
FOOD = {"sku": "F1", "name": "全价猫粮 2kg", "category": "猫粮", "price_fen": 12_900}
OPEN = (ReminderStatus.DUE, ReminderStatus.QUEUED)
SOURCE = "subscription"


@pytest.fixture
async def shop(database_url: str, tmp_path: Path) -> AsyncIterator[Town]:
    more: dict[str, Any] = {
        "line_gap": timedelta(0),
        "data_key": SecretStr(KEY),
        "gate": GateSettings(quiet_from=None, per_day=None, per_week=None),
        "handoff": HandoffSettings(supervisors=(BOSS,)),
    }
    async with town(database_url, tmp_path, **more) as opened:
        opened.simulator.world.add_staff(BOSS, "店长")
        yield opened


async def plan(shop: Town, **more: Any) -> None:
    told = {"key": "猫粮", "title": "猫粮月套餐", "items": [FOOD], "price_fen": 9900, "locks_price": False, **more}
    async with shop.service.app.sessions.begin() as session:
        await subscription_plans.put(session, PlanDraft.model_validate(told), now=shop.clock.now())


async def tap(shop: Town, customer: str, content: str, menu_id: str) -> str:
    before = len(shop.heard(customer))
    shop.clock.advance(seconds=2)
    shop.says(customer, content, menu_id)
    await shop.until(lambda: len(shop.heard(customer)) > before)
    return shop.heard(customer)[-1]


def choice(shop: Town, customer: str, content: str) -> str:
    """The id behind a line of the newest menu."""
    menus = [one["msgmenu"] for one in shop.phone(customer) if one["msgtype"] == "msgmenu"]
    return next(line["click"]["id"] for line in menus[-1]["list"] if line["click"]["content"] == content)


async def pick(shop: Town, customer: str, content: str) -> str:
    return await tap(shop, customer, content, choice(shop, customer, content))


async def go_to(shop: Town, on: date, hour: int) -> None:
    """The shop's clock shows this hour of this day; what that brings is done, and what leaves has left."""
    ahead = day_start(on) + timedelta(hours=hour) - shop.clock.now()
    if ahead > timedelta(0):
        shop.clock.advance(ahead)
    await work(shop)


async def work(shop: Town, *, seconds: float = 20.0) -> None:
    """Until no reminder is on its way but those that wait for a colleague."""
    app, watch = shop.service.app, SubscriptionWatch(shop.service.app)
    end = time.monotonic() + seconds
    while True:
        await watch.round()
        waits = sa.select(sa.func.count()).where(
            Reminder.status.in_(OPEN), Reminder.way.is_distinct_from(Way.BROADCAST)
        )
        async with app.sessions.read() as session:
            left = await session.scalar(waits)
        if not left:
            return
        assert time.monotonic() < end, "reminders did not leave"
        app.peers.tap("send")
        shop.clock.advance(seconds=3)
        await asyncio.sleep(0.03)


async def pay(shop: Town, cycle: Cycle) -> str:
    """The shop's payment page tells that it is paid."""
    now = shop.clock.now()
    notice = {"transaction_id": f"4200{cycle.order_no}", "out_trade_no": cycle.order_no, "paid_fen": cycle.price_fen,
              "paid_at": now.isoformat()}  # fmt: skip
    body, stamp = json.dumps(notice).encode(), str(int(now.timestamp()))
    headers = {"X-Siyu-Timestamp": stamp, "X-Siyu-Signature": signature(PAY_KEY.encode(), stamp, body)}
    async with aiohttp.ClientSession() as http:
        url = f"http://127.0.0.1:{shop.service.port}/pay/notify"
        async with http.post(url, data=body, headers=headers) as answer:
            said = await answer.json()
    return str(said.get("outcome") or said)


async def rows(shop: Town, table: Any, *order: Any) -> list[Any]:
    async with shop.service.app.sessions.read() as session:
        return list(await session.scalars(sa.select(table).order_by(*order)))


async def cycles(shop: Town) -> list[Cycle]:
    return await rows(shop, Cycle, Cycle.number)


async def signed_up(shop: Town, customer: str, how: str = "到日子自动下单") -> None:
    assert "猫粮月套餐：全价猫粮 2kg × 1\n每月一期，每期 99 元，买 3 期送 1 期" in await ask(shop, customer, "订阅")
    await ask(shop, customer, "订阅 猫粮")
    said = await pick(shop, customer, how)
    assert said.startswith("订阅好了：猫粮月套餐，每月一期。明天发货，待付款 99 元。")


async def test_a_year_and_a_half_with_skips_a_new_price_and_four_free_deliveries(shop: Town) -> None:
    await plan(shop)
    customer = shop.customer()
    await signed_up(shop, customer)
    assert "看着不像完整的地址" in await ask(shop, customer, "就寄到老地方那里吧")
    assert "上海市浦东新****" in await ask(shop, customer, "上海市浦东新区世纪大道 100 号 8 楼 802")
    [kept] = await rows(shop, PrivateValue)
    assert "世纪大道" not in kept.sealed
    assert await pay(shop, (await cycles(shop))[0]) == "applied"
    assert await pay(shop, (await cycles(shop))[0]) == "applied", "told twice, paid once"
    member = await member_of(shop, customer)
    for number in range(2, 19):
        async with shop.service.app.sessions.read() as session:
            [view] = await subscriptions.of_member(session, member.id)
        due_on, skips = view.subscription.due_on, number in (3, 11)
        if number == 7:
            await plan(shop, price_fen=10_900)
        for days, hour in ((7, 10), (3, 10)):
            await go_to(shop, due_on - timedelta(days=days), hour)
        if skips or number == 8:
            await go_to(shop, due_on - timedelta(days=1), 20)
            await ask(shop, customer, "在吗")
        await go_to(shop, due_on, 10)
        if skips:
            assert shop.heard(customer)[-1].startswith("您订阅的猫粮月套餐，今天发货")
            assert "这一期跳过了" in await ask(shop, customer, "跳过")
            continue
        if number == 8:
            assert "价格和上一期不同：上一期 99 元" not in shop.heard(customer)[-1], "told once, with the first of it"
        await go_to(shop, due_on, 18)
        newest = (await cycles(shop))[-1]
        if newest.status is CycleStatus.ORDERED:
            assert await pay(shop, newest) == "applied"
    await the_books_are_right(shop)


async def the_books_are_right(shop: Town) -> None:
    found = await cycles(shop)
    assert [one.number for one in found if one.status is CycleStatus.SKIPPED] == [3, 11]
    came = [one for one in found if one.status is CycleStatus.PAID]
    assert len(came) == 16
    assert [place for place, one in enumerate(came, 1) if one.is_gift] == [4, 8, 12, 16]
    assert [one.price_fen for one in found if not one.is_gift] == [9900] * 5 + [10_900] * 9
    orders = await rows(shop, Order, Order.id)
    assert len(orders) == 16
    assert sum(one.paid_fen for one in orders) == sum(one.price_fen for one in came) == 4 * 9900 + 8 * 10_900
    told = await rows(shop, Reminder, Reminder.cycle_id, Reminder.remind_on)
    seen = [(one.cycle_id, one.step) for one in told]
    assert len(seen) == len(set(seen)) == 17 * 3, "each step of each delivery but the first, once"
    for one in told:
        assert one.status is ReminderStatus.SENT
        assert (one.due_on - one.remind_on).days == int(one.step[1:])
        assert one.sent_at is not None
        assert local_day(one.sent_at) == one.remind_on
    assert {one.way for one in told} == {Way.KF, Way.TODO}


async def test_a_word_for_each_wish_and_a_question_for_two(shop: Town) -> None:
    await plan(shop)
    customer = shop.customer()
    await signed_up(shop, customer, "每期先问我，我确认才下单")
    await pay(shop, (await cycles(shop))[0])
    assert "现在没有等您决定的一期" in await ask(shop, customer, "跳过")
    [first] = await cycles(shop)
    due_on = (await view_of(shop, customer)).subscription.due_on
    await go_to(shop, due_on - timedelta(days=8), 20)
    await ask(shop, customer, "在吗")
    await go_to(shop, due_on - timedelta(days=7), 10)
    assert "要的话回复「确认」" in shop.heard(customer)[-1]
    assert await ask(shop, customer, "取消") == words.MEANS
    assert "已经暂停" in await pick(shop, customer, "暂停订阅")
    assert "已经恢复" in await ask(shop, customer, "恢复订阅")
    assert (await view_of(shop, customer)).cycle is None
    later = (await view_of(shop, customer)).subscription.due_on
    await go_to(shop, later - timedelta(days=8), 20)
    await ask(shop, customer, "在吗")
    await go_to(shop, later - timedelta(days=7), 10)
    assert await ask(shop, customer, "确认取消") == words.MEANS
    assert await pick(shop, customer, "都不是，照旧") == words.KEPT
    assert await ask(shop, customer, "推迟") == words.HOW_LATE
    assert words.day(later + timedelta(days=7)) in await pick(shop, customer, "推迟一周")
    assert "已经为您下单" in await ask(shop, customer, "好的"), "a yes to what was asked in the chat"
    assert "不能再改日子" in await ask(shop, customer, "推迟一周")
    assert await ask(shop, customer, "退订") == words.MEANS
    assert "确认取消" not in await pick(shop, customer, "取消整个订阅")
    assert "已经取消，以后不会再下单" in await pick(shop, customer, "确认取消")
    assert await ask(shop, customer, "我的订阅") == words.MINE_NONE
    assert [one.status for one in await cycles(shop)][-1] is CycleStatus.CANCELLED
    assert first.status is CycleStatus.PAID


async def view_of(shop: Town, customer: str) -> Any:
    member = await member_of(shop, customer)
    async with shop.service.app.sessions.read() as session:
        [view] = await subscriptions.of_member(session, member.id)
    return view


async def test_who_is_a_friend_of_the_staff_gets_a_mass_send_that_somebody_confirms(shop: Town) -> None:
    """The second time nobody confirms it, and by the afternoon a colleague has it as a to-do."""
    await plan(shop)
    customer = await befriended(shop, SERVICER, "林夏")
    member = await member_of(shop, customer)
    first = local_day(shop.clock.now()) + timedelta(days=9)
    async with shop.service.app.sessions.begin() as session:
        await subscriptions.sign_up(session, member.id, "猫粮", mode=Mode.ASKS, first_on=first, now=shop.clock.now())
    await go_to(shop, first - timedelta(days=7), 11)
    tasks = shop.simulator.world.tasks
    await until_task(shop, 1)
    [task] = tasks.of_member(SERVICER)
    tasks.send(SERVICER, task.msgid)
    await way(shop, "d7", ReminderStatus.SENT, Way.BROADCAST)
    said = [read(one) for one in shop.phone(customer, SERVICER)]
    assert words.MASS.format(title="猫粮月套餐", day=f" {words.day(first)}") in said
    await go_to(shop, first - timedelta(days=3), 11)
    await until_task(shop, 2)
    shop.clock.advance(hours=6, minutes=1)
    await way(shop, "d3", ReminderStatus.SENT, Way.TODO)
    [_, second] = await rows(shop, Reminder, Reminder.remind_on)
    assert second.trail == [{"way": "broadcast", "why": "not_confirmed"}]


async def until_task(shop: Town, count: int) -> None:
    tasks = shop.simulator.world.tasks
    for _ in range(400):
        if len(tasks.of_member(SERVICER)) == count:
            return
        nudge(shop)
        await asyncio.sleep(0.03)
    raise AssertionError("no mass send was asked for")


async def way(shop: Town, step: str, status: ReminderStatus, by: Way) -> None:
    watch = SubscriptionWatch(shop.service.app)
    for _ in range(200):
        found = [one for one in await rows(shop, Reminder) if one.step == step]
        if found and (found[0].status, found[0].way) == (status, by):
            return
        shop.clock.advance(seconds=20)
        nudge(shop)
        await watch.round()
        await asyncio.sleep(0.05)
    raise AssertionError(f"{step}: {found[0].status} by {found[0].way}, {found[0].trail}")


def nudge(shop: Town) -> None:
    for topic in ("send", "campaigns", "mass_sends"):
        shop.service.app.peers.tap(topic)
