"""Agents answer from the desk: the session stays with the bot's API, under the window, and the bot is silent."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from bot import texts
from bot.handoff import desk
from bot.handoff.desk import NotAtDesk, NothingSaid, WindowSpent
from bot.handoff.queue import TicketClosed, TicketTaken
from bot.models.handoff import Ticket, TicketStatus
from bot.settings import HandoffSettings
from bot.simulator.kf import State
from campaigns import guards
from campaigns.guard_rules import Channel
from crm.base.clock import MovableClock
from tests.journeys.test_handoff_native import NIGHT, cards, state, ticket, told, until_async, until_ticket
from tests.town import KF, SERVICER, Town, new_simulator, town

OTHER = "liqiang"
DESK = HandoffSettings(desk_accounts=frozenset({KF}))


@pytest.fixture
async def shop(database_url: str, tmp_path: Path) -> AsyncIterator[Town]:
    async with town(database_url, tmp_path, handoff=DESK) as opened:
        yield opened


async def called(shop: Town) -> tuple[str, int]:
    customer = shop.customer()
    shop.says(customer, "转人工")
    await shop.until(lambda: cards(shop, SERVICER))
    found = await until_ticket(shop, lambda one: one.status is TicketStatus.WAITING)
    return customer, found.id


async def reply(shop: Town, ticket_id: int, text: str, *, key: str, staff: str = SERVICER) -> int:
    """Answers from the desk; returns how many messages are left in the window."""
    app = shop.service.app
    async with app.sessions.begin() as session:
        left = await desk.reply(
            session, ticket_id, staff=staff, text=text, key=key, policy=app.handoff, now=app.clock.now()
        )
    app.peers.tap("send")
    return left.messages


async def close(shop: Town, ticket_id: int, staff: str = SERVICER) -> None:
    app = shop.service.app
    async with app.sessions.begin() as session:
        await desk.close(session, ticket_id, staff=staff, policy=app.handoff, now=app.clock.now())
    app.peers.tap("send")


async def test_an_agent_answers_the_bot_is_silent_and_after_closing_it_is_the_bots_turn(shop: Town) -> None:
    customer, ticket_id = await called(shop)
    assert await reply(shop, ticket_id, "您好，我是小美", key="1") == 3
    await shop.until(lambda: shop.heard(customer)[-1] == "您好，我是小美")
    assert state(shop, customer) is State.BOT
    shop.says(customer, "多久发货")
    await shop.quiet()
    assert shop.heard(customer)[-1] == "您好，我是小美", "the bot is silent"
    await reply(shop, ticket_id, "今天就发", key="2")
    await shop.until(lambda: shop.heard(customer)[-1] == "今天就发")
    await close(shop, ticket_id)
    await shop.until(lambda: shop.heard(customer)[-1] == texts.CSAT_HEAD)
    shop.simulator.advance(5)
    shop.says(customer, "满多少包邮")
    await shop.until(lambda: "【包邮】" in shop.heard(customer)[-1])


async def test_an_answer_sent_twice_is_one_message(shop: Town) -> None:
    customer, ticket_id = await called(shop)
    await reply(shop, ticket_id, "您好", key="same")
    await reply(shop, ticket_id, "您好", key="same")
    await shop.until(lambda: shop.heard(customer)[-1] == "您好")
    await shop.quiet()
    assert shop.heard(customer).count("您好") == 1


async def test_the_window_ends_with_the_fifth_message_and_opens_with_the_customers_next(shop: Town) -> None:
    customer, ticket_id = await called(shop)
    left = [await reply(shop, ticket_id, f"第 {number} 条", key=str(number)) for number in range(4)]
    assert left == [3, 2, 1, 0]
    with pytest.raises(WindowSpent):
        await reply(shop, ticket_id, "第 5 条", key="5")
    await shop.until(lambda: len(shop.heard(customer)) == 5)
    shop.simulator.advance(5)  # WeCom's instants are whole seconds: what is near one counts as after it
    shop.says(customer, "好的")
    await until_ticket(shop, lambda one: one.waiting_since is not None)
    assert await reply(shop, ticket_id, "第 5 条", key="5") >= 3


async def test_two_agents_race_for_a_ticket_and_one_has_it(shop: Town) -> None:
    _, ticket_id = await called(shop)
    app = shop.service.app

    async def take(staff: str) -> str:
        async with app.sessions.begin() as session:
            await desk.take(session, ticket_id, staff=staff, policy=app.handoff, now=app.clock.now())
        return staff

    ended = await asyncio.gather(take(SERVICER), take(OTHER), return_exceptions=True)
    (winner,) = [one for one in ended if isinstance(one, str)]
    (refused,) = [one for one in ended if isinstance(one, TicketTaken)]
    assert refused.by == winner
    with pytest.raises(TicketTaken):
        await reply(shop, ticket_id, "我也来", key="1", staff=OTHER if winner == SERVICER else SERVICER)


async def test_the_card_takes_a_ticket_for_the_desk_too(shop: Town) -> None:
    _, ticket_id = await called(shop)
    (card,) = cards(shop, SERVICER)
    shop.simulator.world.notices.press(SERVICER, card.id, "accept")
    found = await until_ticket(shop, lambda one: one.status is TicketStatus.ASSIGNED)
    assert (found.id, found.servicer_userid) == (ticket_id, SERVICER)
    await shop.until(lambda: (card.replaced or "").endswith("已接单"))


async def test_what_cannot_be_said_is_refused(shop: Town) -> None:
    _, ticket_id = await called(shop)
    for words in ("", "  ", "长" * 700):
        with pytest.raises(NothingSaid):
            await reply(shop, ticket_id, words, key=words)
    await close(shop, ticket_id)
    with pytest.raises(TicketClosed):
        await reply(shop, ticket_id, "还在吗", key="late")


async def test_a_native_ticket_is_not_answered_from_the_desk(database_url: str, tmp_path: Path) -> None:
    async with town(database_url, tmp_path) as shop:
        customer = shop.customer()
        shop.says(customer, "转人工")
        await shop.until(lambda: state(shop, customer) is State.HUMAN)
        found = await ticket(shop)
        assert found is not None
        with pytest.raises(NotAtDesk):
            await reply(shop, found.id, "您好", key="1")


async def test_a_rating_is_asked_for_once_more_and_then_kept(shop: Town) -> None:
    customer, ticket_id = await called(shop)
    await reply(shop, ticket_id, "处理好了", key="1")
    await close(shop, ticket_id)
    await shop.until(lambda: shop.heard(customer)[-1] == texts.CSAT_HEAD)
    shop.simulator.advance(timedelta(hours=23, minutes=30).total_seconds())
    await shop.until(lambda: shop.heard(customer)[-1] == texts.CSAT_REMINDER)
    shop.simulator.advance(timedelta(hours=10).total_seconds())
    await shop.quiet(1.5)
    assert shop.heard(customer).count(texts.CSAT_REMINDER) == 1
    (menu,) = [one for one in shop.phone(customer) if one["msgtype"] == "msgmenu"][-1:]
    best = menu["msgmenu"]["list"][0]["click"]
    shop.says(customer, best["content"], best["id"])
    await shop.until(lambda: shop.heard(customer)[-1] == texts.CSAT_THANKS)
    shop.says(customer, best["content"], best["id"])
    await shop.until(lambda: shop.heard(customer)[-1] == texts.CSAT_ALREADY)

    async def rated() -> bool:
        async with shop.service.app.sessions.read() as session:
            return (await session.get_one(Ticket, ticket_id)).csat_score == 5

    assert await until_async(rated)


async def test_at_the_desk_too_a_silent_agent_loses_the_ticket(shop: Town) -> None:
    _, ticket_id = await called(shop)
    app = shop.service.app
    async with app.sessions.begin() as session:
        await desk.take(session, ticket_id, staff=SERVICER, policy=app.handoff, now=app.clock.now())
    shop.simulator.advance(10 * 60 + 1)
    found = await until_ticket(shop, lambda one: one.status is TicketStatus.WAITING)
    assert found.servicer_userid is None
    await shop.until(lambda: len(cards(shop, SERVICER)) == 2)
    shop.simulator.advance(5 * 60)
    await shop.until(lambda: any("超时" in words for words in told(shop, SERVICER)))


async def test_at_night_the_bot_goes_on_until_an_agent_takes_over(database_url: str, tmp_path: Path) -> None:
    async with town(database_url, tmp_path, simulator=new_simulator(MovableClock(NIGHT)), handoff=DESK) as shop:
        customer, ticket_id = await called(shop)
        await shop.quiet()
        shop.says(customer, "多久发货")
        await shop.until(lambda: "【发货】" in shop.heard(customer)[-1])
        await reply(shop, ticket_id, "我还没睡，我来", key="1")
        await shop.until(lambda: shop.heard(customer)[-1] == "我还没睡，我来")
        shop.says(customer, "满多少包邮")
        await shop.quiet()
        assert shop.heard(customer)[-1] == "我还没睡，我来"


async def test_marketing_leaves_who_complains_in_peace_until_the_ticket_is_closed(shop: Town) -> None:
    customer, app = shop.customer(), shop.service.app
    shop.says(customer, "我要投诉你们")
    found = await until_ticket(shop, lambda one: one.status is TicketStatus.WAITING)
    assert found.member_id is not None

    async def code() -> str:
        async with app.sessions.read() as session:
            told = await guards.judge(session, app.gate, [found.member_id], channel=Channel.KF, now=app.clock.now())
        return told[found.member_id].code

    assert await code() == "gate.complaint"
    await reply(shop, found.id, "非常抱歉，马上处理", key="1")
    await close(shop, found.id)
    assert await code() == ""
