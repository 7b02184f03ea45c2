"""A person takes over in the WeCom client: each trigger, the card and its race, silence, the queue, the end."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from bot import texts
from bot.models.handoff import StepKind, Ticket, TicketStatus, TicketStep
from bot.simulator.faults import Fault
from bot.simulator.kf import State
from bot.simulator.notices import Notice
from crm.base.clock import MovableClock
from tests.town import KF, SERVICER, Town, new_simulator, town

OTHER = "liqiang"
NIGHT = datetime(2026, 3, 10, 15, 30, tzinfo=UTC)  # 23:30 in Shanghai
MORNING = datetime(2026, 3, 11, 1, 0, tzinfo=UTC)  # 9:00, when the shop opens


@pytest.fixture
async def shop(database_url: str, tmp_path: Path) -> AsyncIterator[Town]:
    async with town(database_url, tmp_path) as opened:
        yield opened


@pytest.fixture
async def two(database_url: str, tmp_path: Path) -> AsyncIterator[Town]:
    """A shop with two servicers."""
    simulator = new_simulator(MovableClock(datetime(2026, 3, 10, 2, 0, tzinfo=UTC)))
    simulator.world.kf.get_account(KF).servicers.update(simulator.world.kf.add_account("x", "wkX", [OTHER]).servicers)
    async with town(database_url, tmp_path, simulator=simulator) as opened:
        yield opened


async def until_async(look: Callable[[], Any], *, seconds: float = 10.0) -> Any:
    """Wait until an asynchronous look finds something."""
    async with asyncio.timeout(seconds):
        while not (found := await look()):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        return found


async def ticket(shop: Town) -> Ticket | None:
    async with shop.service.app.sessions.read() as session:
        found: Ticket | None = await session.scalar(sa.select(Ticket).order_by(Ticket.id.desc()).limit(1))
        return found


async def steps(shop: Town) -> list[StepKind]:
    async with shop.service.app.sessions.read() as session:
        return list(await session.scalars(sa.select(TicketStep.kind).order_by(TicketStep.id)))


async def until_ticket(shop: Town, holds: Callable[[Ticket], bool]) -> Ticket:
    async def look() -> Ticket | None:
        found = await ticket(shop)
        return found if found is not None and holds(found) else None

    found: Ticket = await until_async(look)
    return found


def state(shop: Town, customer: str) -> State:
    return shop.simulator.world.kf.session(KF, customer).state


def holder(shop: Town, customer: str) -> str:
    return shop.simulator.world.kf.session(KF, customer).servicer


def cards(shop: Town, userid: str) -> list[Notice]:
    return [one for one in shop.simulator.world.notices.of_member(userid) if one.msgtype == "template_card"]


def told(shop: Town, userid: str) -> list[str]:
    notices = shop.simulator.world.notices.of_member(userid)
    return [one.payload["content"] for one in notices if one.msgtype == "text"]


async def called(shop: Town, words: str = "转人工") -> str:
    customer = shop.customer()
    shop.says(customer, words)
    await shop.until(lambda: state(shop, customer) is State.HUMAN)
    return customer


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["我要找真人客服"], "asked_for"),
        (["我要投诉你们"], "complaint"),
        (["什么破店，东西烂成这样，太差劲了！！"], "angry"),
        (["为什么不给我退款，赶紧退钱"], "refund"),
        (["我家猫抽搐了快死了"], "out_of_scope"),
        (["宇宙有多大呀", "月亮上有兔子吗"], "misses"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_each_trigger_brings_a_person_and_keeps_its_reason(shop: Town, words: list[str], reason: str) -> None:
    customer = shop.customer()
    for number, one in enumerate(words, 1):
        shop.says(customer, one)
        await shop.until(lambda number=number: len(shop.heard(customer)) >= number)  # type: ignore[misc]
    await shop.until(lambda: state(shop, customer) is State.HUMAN)
    found = await until_ticket(shop, lambda one: one.status is TicketStatus.ASSIGNED)
    assert (found.reason, found.quote) == (reason, words[-1])
    assert shop.heard(customer)[len(words) - 1].startswith(texts.HUMAN_WHY[reason])


async def test_a_rule_that_is_switched_off_brings_nobody(database_url: str, tmp_path: Path) -> None:
    from bot.settings import HandoffSettings

    chosen = HandoffSettings.model_validate({"triggers": ["asked_for"]})
    async with town(database_url, tmp_path, handoff=chosen) as shop:
        customer = shop.customer()
        shop.says(customer, "我要投诉你们")
        await shop.until(lambda: shop.heard(customer))
        await shop.quiet()
        assert state(shop, customer) is not State.HUMAN
        assert await ticket(shop) is None


async def test_the_card_shows_who_it_is_and_what_was_said(shop: Town) -> None:
    customer = shop.customer("陈晓")
    shop.says(customer, "多久发货")
    await shop.until(lambda: shop.heard(customer))
    await asyncio.sleep(2.2)  # the name is asked for every two seconds
    shop.says(customer, "转人工")
    (card,) = await shop.until(lambda: cards(shop, SERVICER))
    shown = str(card.payload)
    for expected in ("陈晓", "客户要求人工", "多久发货", "【发货】", "接单", "今天 10:15 前"):
        assert expected in shown


async def test_of_two_who_press_at_once_one_wins_and_the_other_is_told(two: Town) -> None:
    two.simulator.world.kf.set_receiving(SERVICER, KF, False)
    two.simulator.world.kf.set_receiving(OTHER, KF, False)
    customer = two.customer()
    two.says(customer, "转人工")
    await two.until(lambda: state(two, customer) is State.QUEUE)
    await two.until(lambda: cards(two, SERVICER) and cards(two, OTHER))
    for userid in (SERVICER, OTHER):
        two.simulator.world.kf.set_receiving(userid, KF, True)
        two.simulator.world.notices.press(userid, cards(two, userid)[0].id, "accept")
    await two.until(lambda: state(two, customer) is State.HUMAN)
    winner = holder(two, customer)
    loser = OTHER if winner == SERVICER else SERVICER
    await two.until(lambda: any("已由" in words for words in told(two, loser)))
    assert (await until_ticket(two, lambda one: one.accepted_at is not None)).servicer_userid == winner
    await two.until(lambda: all((cards(two, one)[0].replaced or "").endswith("已接单") for one in (winner, loser)))
    assert holder(two, customer) == winner
    assert (await steps(two)).count(StepKind.ACCEPTED) == 1


async def test_who_passes_a_customer_on_brings_them_to_a_colleague(two: Town) -> None:
    customer = await called(two)
    first = holder(two, customer)
    second = OTHER if first == SERVICER else SERVICER
    (card,) = await two.until(lambda: cards(two, first))
    two.simulator.world.notices.press(first, card.id, "pass")
    await two.until(lambda: holder(two, customer) == second)
    await two.until(lambda: cards(two, second))
    assert card.replaced == texts.CARD_PASSED


async def test_the_same_servicer_gets_a_customer_again(two: Town) -> None:
    customer = await called(two)
    first = holder(two, customer)
    two.simulator.world.kf.reply(first, KF, customer, "text", {"content": "您好"})
    await until_ticket(two, lambda one: one.first_response_at is not None)
    two.simulator.world.kf.end(first, KF, customer)
    await until_ticket(two, lambda one: one.status is TicketStatus.CLOSED)
    others = [await called(two) for _ in range(2)]
    assert {holder(two, one) for one in others} == {SERVICER, OTHER}, "strangers take turns"
    two.says(customer, "转人工")
    await two.until(lambda: state(two, customer) is State.HUMAN)
    assert holder(two, customer) == first


async def test_a_servicer_who_leaves_at_the_wrong_moment_is_passed_over(two: Town) -> None:
    two.simulator.faults.add(Fault("/cgi-bin/kf/service_state/trans", "errcode", errcode=95019))
    customer = await called(two)
    assert holder(two, customer) in (SERVICER, OTHER)
    assert two.calls("/cgi-bin/kf/service_state/trans") == 2


async def test_an_answer_on_its_way_never_appears_after_the_person_took_over(shop: Town) -> None:
    customer = shop.customer()
    shop.says(customer, "多久发货")
    await shop.until(lambda: shop.heard(customer))
    shop.simulator.faults.add(Fault("/cgi-bin/kf/send_msg", "errcode", errcode=-1, times=0))
    shop.says(customer, "满多少包邮")
    await shop.quiet(0.5)  # the answer fails, waits and is tried again
    world = shop.simulator.world
    world.kf.move(world.kf.session(KF, customer), State.QUEUE)
    world.kf.accept(SERVICER, KF, customer)
    world.kf.reply(SERVICER, KF, customer, "text", {"content": "我来回答您"})
    shop.simulator.faults.clear()
    await shop.quiet(4.0)
    kinds = [one["from"]["kind"] for one in shop.phone(customer) if one["from"]["kind"] in ("bot", "staff")]
    assert kinds == ["bot", "staff"]


async def test_at_night_the_customer_hears_when_and_in_the_morning_somebody_comes(
    database_url: str, tmp_path: Path
) -> None:
    simulator = new_simulator(MovableClock(NIGHT))
    simulator.world.kf.set_receiving(SERVICER, KF, False)
    async with town(database_url, tmp_path, simulator=simulator) as shop:
        customer = shop.customer()
        shop.says(customer, "转人工")
        await shop.until(lambda: shop.heard(customer))
        assert "明天 9:15" in shop.heard(customer)[0]
        found = await until_ticket(shop, lambda one: one.retry_at == MORNING)
        assert found.first_response_due_at == datetime(2026, 3, 11, 1, 15, tzinfo=UTC)
        shop.says(customer, "多久发货")
        await shop.until(lambda: len(shop.heard(customer)) == 2)
        assert "【发货】" in shop.heard(customer)[1], "nobody is there, so the bot goes on"
        simulator.world.kf.set_receiving(SERVICER, KF, True)
        simulator.advance(9.6 * 3600)
        await shop.until(lambda: state(shop, customer) is State.HUMAN)
        await shop.until(lambda: shop.heard(customer)[-1] == texts.HUMAN_PROMPT)


async def test_clocks_warn_then_escalate_once_and_a_silent_servicer_loses_the_customer(two: Town) -> None:
    customer = await called(two)
    first = holder(two, customer)
    second = OTHER if first == SERVICER else SERVICER
    await until_ticket(two, lambda one: one.silence_at is not None)
    two.simulator.advance(10 * 60 + 1)
    await two.until(lambda: holder(two, customer) == second)
    two.simulator.advance(2 * 60)
    await two.until(lambda: any("提醒" in words for words in told(two, second)))
    two.simulator.advance(4 * 60)
    await two.until(lambda: any("超时" in words for words in told(two, first)))
    await two.quiet(1.5)
    assert sum("超时" in words for words in told(two, first)) == 1
    kinds = await steps(two)
    assert kinds.count(StepKind.WARNED) == kinds.count(StepKind.BREACHED) == kinds.count(StepKind.REASSIGNED) == 1


async def test_the_clock_rests_while_we_wait_for_the_customer(shop: Town) -> None:
    customer = await called(shop)
    shop.simulator.world.kf.reply(SERVICER, KF, customer, "text", {"content": "请发一下订单号"})
    paused = await until_ticket(shop, lambda one: one.first_response_at is not None)
    assert paused.resolution_due_at is None and paused.resolution_left_seconds
    shop.simulator.advance(3600)
    shop.says(customer, "MQ123456")
    running = await until_ticket(shop, lambda one: one.resolution_due_at is not None)
    assert running.resolution_left_seconds is None and running.waiting_since is not None


async def test_after_the_end_the_customer_rates_and_a_bad_rating_brings_a_person_back(shop: Town) -> None:
    customer = await called(shop)
    world = shop.simulator.world
    world.kf.reply(SERVICER, KF, customer, "text", {"content": "处理好了"})
    await until_ticket(shop, lambda one: one.first_response_at is not None)
    world.kf.end(SERVICER, KF, customer)
    menu = await shop.until(lambda: next((one for one in shop.phone(customer) if one["msgtype"] == "msgmenu"), None))
    worst = menu["msgmenu"]["list"][-1]["click"]
    closed = await until_ticket(shop, lambda one: one.status is TicketStatus.CLOSED)
    shop.says(customer, worst["content"], worst["id"])
    again = await until_ticket(shop, lambda one: one.reason == "bad_rating" and one.status is TicketStatus.ASSIGNED)
    assert again.priority == "urgent"
    shop.says(customer, "等太久了")

    async def commented() -> bool:
        async with shop.service.app.sessions.read() as session:
            rated = await session.get_one(Ticket, closed.id)
            return (rated.csat_score, rated.csat_comment) == (1, "等太久了")

    assert await until_async(commented)
