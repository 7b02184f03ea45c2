"""Who has the talk: a customer asks for a person, gets one, and gets the bot back. Nothing anybody types breaks it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from bot import texts
from bot.models.handoff import Ticket, TicketStatus
from bot.simulator.faults import Fault
from bot.simulator.kf import State
from tests.town import KF, QUESTIONS, SERVICER, Town, new_simulator, town

TRANS = "/cgi-bin/kf/service_state/trans"
SHIP = "【发货】付款后 48 小时内发出。"


@pytest.fixture
async def shop(database_url: str, tmp_path: Path) -> AsyncIterator[Town]:
    async with town(database_url, tmp_path) as opened:
        yield opened


async def until_ticket(shop: Town, status: TicketStatus, servicer: str | None = None) -> None:
    """Wait until the one ticket, opened because a person was asked for, stands like this."""
    async with asyncio.timeout(5):
        while await _tickets(shop) != [(status, "asked_for", servicer)]:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def _tickets(shop: Town) -> list[tuple[str, str, str | None]]:
    async with shop.service.app.sessions.read() as session:
        rows = await session.execute(sa.select(Ticket.status, Ticket.reason, Ticket.servicer_userid))
        return [(row.status, row.reason, row.servicer_userid) for row in rows]


def state(shop: Town, customer: str) -> State:
    return shop.simulator.world.kf.session(KF, customer).state


def servicer_replies(shop: Town, customer: str, content: str) -> None:
    shop.simulator.world.kf.reply(SERVICER, KF, customer, "text", {"content": content})


async def called_for_a_person(shop: Town) -> str:
    """A customer who asked for a person and reached the one servicer."""
    customer = shop.customer()
    shop.says(customer, "人工")
    await shop.until(lambda: state(shop, customer) is State.HUMAN)
    await shop.heard_times(customer, 2)
    return customer


async def test_a_customer_who_asks_for_a_person_reaches_the_one_who_is_receiving(shop: Town) -> None:
    customer = await called_for_a_person(shop)
    assert shop.heard(customer)[0].startswith(texts.HUMAN_WHY["asked_for"])
    assert shop.heard(customer)[1:] == [texts.HUMAN_PROMPT]
    assert shop.simulator.world.kf.session(KF, customer).servicer == SERVICER
    await until_ticket(shop, TicketStatus.ASSIGNED, SERVICER)


async def test_the_bot_is_silent_while_a_person_has_the_talk_and_answers_again_after(shop: Town) -> None:
    customer = await called_for_a_person(shop)
    shop.says(customer, "多久发货")
    servicer_replies(shop, customer, "今天就发")
    shop.says(customer, "满多少包邮")
    await shop.quiet()
    assert len(shop.heard(customer)) == 2
    shop.simulator.world.kf.end(SERVICER, KF, customer)
    shop.says(customer, "怎么退货")
    await shop.heard_times(customer, 3)
    assert "【退货】" in shop.heard(customer)[-1]
    await until_ticket(shop, TicketStatus.CLOSED, SERVICER)


async def test_when_nobody_is_receiving_the_customer_waits_in_the_queue_and_is_told(shop: Town) -> None:
    shop.simulator.world.kf.set_receiving(SERVICER, KF, False)
    customer = shop.customer()
    shop.says(customer, "转人工")
    await shop.until(lambda: state(shop, customer) is State.QUEUE)
    await shop.heard_times(customer, 2)
    assert shop.heard(customer)[1] == texts.HUMAN_QUEUED
    await until_ticket(shop, TicketStatus.QUEUED)
    shop.says(customer, "多久发货")
    await shop.quiet()
    assert len(shop.heard(customer)) == 2
    shop.simulator.world.kf.accept(SERVICER, KF, customer)
    servicer_replies(shop, customer, "我来了")
    shop.says(customer, "多久发货")
    await shop.quiet()
    assert len(shop.heard(customer)) == 2
    await until_ticket(shop, TicketStatus.ASSIGNED, SERVICER)


async def test_a_queue_nobody_came_to_does_not_silence_the_bot_for_ever(shop: Town) -> None:
    """Left in the queue, the session lapses without any event; the customer's next word opens it as the bot's."""
    shop.simulator.world.kf.set_receiving(SERVICER, KF, False)
    customer = shop.customer()
    shop.says(customer, "转人工")
    await shop.heard_times(customer, 2)
    await until_ticket(shop, TicketStatus.QUEUED)  # the handover is settled: no lease of it runs out meanwhile
    shop.simulator.advance(49 * 3600)
    shop.says(customer, "多久发货")
    await shop.until(lambda: SHIP in shop.heard(customer))


@pytest.mark.parametrize("errcode", [95011, 95014, 95017, 48007, 60020, 999], ids=str)
async def test_when_no_transfer_is_possible_the_customer_hears_so_and_the_bot_goes_on(shop: Town, errcode: int) -> None:
    shop.simulator.faults.add(Fault(TRANS, "errcode", errcode=errcode, times=0))
    customer = shop.customer()
    shop.says(customer, "人工")
    await shop.heard_times(customer, 2)
    assert shop.heard(customer)[1].startswith(texts.HUMAN_AWAY.split("{")[0])
    shop.says(customer, "多久发货")
    await shop.until(lambda: SHIP in shop.heard(customer))
    await until_ticket(shop, TicketStatus.WAITING)


async def test_a_handover_whose_answer_was_lost_is_not_made_twice(shop: Town) -> None:
    shop.simulator.faults.add(Fault(TRANS, "drop_after"))
    customer = shop.customer()
    shop.says(customer, "人工")
    await shop.until(lambda: state(shop, customer) is State.HUMAN)
    await until_ticket(shop, TicketStatus.ASSIGNED, SERVICER)
    assert shop.calls(TRANS) == 1


async def test_history_of_ended_sessions_is_taken_in_without_a_word(database_url: str, tmp_path: Path) -> None:
    """At first start WeCom hands out three days; what ended before cannot be answered, and is not asked for ever."""
    simulator = new_simulator()
    customer = simulator.world.add_customer("老顾客").external_userid
    simulator.world.customer_says(customer, KF, "多久发货")
    simulator.advance(49 * 3600)
    assert simulator.world.kf.session(KF, customer).state is State.ENDED
    async with town(database_url, tmp_path, simulator=simulator) as shop:
        await shop.until(lambda: shop.calls("/cgi-bin/kf/service_state/get"))
        await shop.quiet(1.0)
        assert shop.calls("/cgi-bin/kf/service_state/get") <= 2
        assert shop.heard(customer) == []
        shop.says(customer, "满多少包邮")
        await shop.until(lambda: "【包邮】" in "".join(shop.heard(customer)))


async def test_a_customer_who_opts_out_is_told_and_can_come_back(shop: Town) -> None:
    customer = shop.customer()
    for number, (said, told) in enumerate(
        [("退订", texts.OPTED_OUT), ("退订", texts.OPTED_OUT_ALREADY), ("恢复推送", texts.OPTED_IN)], start=1
    ):
        shop.says(customer, said)
        await shop.heard_times(customer, number)
        assert shop.heard(customer)[-1] == told


@pytest.mark.parametrize(
    ("msgtype", "payload", "kind"),
    [
        ("image", {"media_id": "M1"}, "图片"),
        ("voice", {"media_id": "M2"}, "语音"),
        ("location", {"latitude": 31.2, "longitude": 121.5, "name": "人民广场", "address": "上海"}, "位置"),
        ("business_card", {"userid": "liqiang"}, "名片"),
        ("something_new", {"x": 1}, "消息"),
    ],
    ids=["image", "voice", "location", "business-card", "unknown-type"],
)
async def test_what_is_not_text_gets_a_polite_word(
    shop: Town, msgtype: str, payload: dict[str, Any], kind: str
) -> None:
    customer = shop.customer()
    shop.simulator.world.kf.say(KF, customer, msgtype, payload)
    await shop.heard_times(customer, 1)
    assert shop.heard(customer) == [texts.NOT_TEXT.format(kind=kind)]


async def test_a_question_nobody_taught_the_bot_gets_an_honest_answer(shop: Town) -> None:
    customer = shop.customer()
    shop.says(customer, "量子纠缠怎么解释相对论里的同时性")
    await shop.heard_times(customer, 1)
    assert shop.heard(customer) == [texts.MISS]


WEIRD = {
    "nul": "多久\x00发货",
    "lone-surrogate": "你好\ud83d",
    "five-thousand-characters": "为什么" * 1667,
    "one-word-of-five-thousand-letters": "a" * 5000,
    "emoji-only": "😀🐱👨‍👩‍👧‍👦",
    "control-characters": "\x01\x02\x1b[31m\x7f\u202e\u200b",
    "spaces-only": " \u3000\n\t ",
    "empty": "",
    "percent-and-braces": "{shop} %s {0} 100% ${x}",
    "sql": "'; DROP TABLE members; --",
    "right-to-left-and-combining": "שלום" + "e\u0301" * 50,
}


@pytest.mark.parametrize("content", WEIRD.values(), ids=WEIRD.keys())
async def test_nothing_a_customer_types_breaks_the_conversation(shop: Town, content: str) -> None:
    customer = shop.customer()
    shop.says(customer, content)
    shop.says(customer, "满多少包邮")
    await shop.until(lambda: QUESTIONS["满多少包邮"] in "".join(shop.heard(customer)))
