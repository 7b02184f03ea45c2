"""The window of 微信客服: five messages in 48 hours, one kept for a person, none where a person has the talk."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from bot.models.conversation import Conversation
from bot.simulator.faults import Fault
from bot.simulator.kf import Change, State
from bot.wecom import lanes
from crm.base import outbox
from crm.base.clock import MovableClock
from crm.base.outbox import OutboxRow, Status
from tests.town import KF, QUESTIONS, SERVICER, WORKING_TIME, Town, new_simulator, town

SEND = "/cgi-bin/kf/send_msg"
DAYS = 86_400


@pytest.fixture
async def shop(database_url: str, tmp_path: Path) -> AsyncIterator[Town]:
    """A shop whose every test ends with: WeCom never had to refuse a message for its window or its session."""
    async with town(database_url, tmp_path) as opened:
        yield opened
        assert [opened.calls(SEND, errcode) for errcode in (95001, 95002, 95018)] == [0, 0, 0]


async def conversation(shop: Town, customer: str) -> Conversation:
    async with shop.service.app.sessions.read() as session:
        found = sa.select(Conversation).where(Conversation.external_userid == customer)
        return (await session.scalars(found)).one()


async def put(shop: Town, customer: str, *contents: str, by_person: bool = False) -> None:
    """Messages to this customer, as whatever part of the shop would write them."""
    talk, now = await conversation(shop, customer), shop.clock.now()
    to = lanes.KfAddress(talk.id, KF, customer, talk.member_id)
    messages = [
        lanes.kf_message(
            to,
            {"msgtype": "text", "text": {"content": content}},
            because=("test", content),
            deadline=None,
            by_person=by_person,
        )
        for content in contents
    ]
    async with shop.service.app.sessions.begin() as session:
        await outbox.put(session, messages, now=now)
    shop.service.app.peers.tap("send")


async def ended(shop: Town) -> dict[str, str]:
    """How the test's own messages ended, by content, once none of them is open."""
    async with asyncio.timeout(10):
        while True:
            async with shop.service.app.sessions.read() as session:
                rows = list(await session.scalars(sa.select(OutboxRow).where(OutboxRow.lane == lanes.KF)))
            if not any(row.status in (Status.WAITING, Status.CLAIMED) for row in rows):
                return {row.body["message"]["text"]["content"]: row.status for row in rows}
            await asyncio.sleep(0.02)


async def asked(shop: Town, question: str = "多久发货") -> str:
    """A customer whose one question was answered some seconds ago: one slot of the window is used."""
    customer = shop.customer()
    shop.says(customer, question)
    await shop.heard_times(customer, 1)
    return customer


def takes_over(shop: Town, customer: str) -> None:
    """A servicer takes the session in the WeCom client."""
    kf = shop.simulator.world.kf
    session = kf.session(KF, customer)
    kf.move(session, State.HUMAN, SERVICER)
    kf.echo_own_changes = True
    kf.log_own_change(session, Change.ACCEPTED, new=SERVICER)


async def test_the_bot_uses_four_and_the_fifth_is_a_persons(shop: Town) -> None:
    customer = await asked(shop)
    await put(shop, customer, *(f"第{n}条" for n in range(6)))
    told = await ended(shop)
    assert shop.heard(customer)[1:] == ["第0条", "第1条", "第2条"]
    assert [told[f"第{n}条"] for n in range(3, 6)] == [Status.DEAD] * 3
    await put(shop, customer, "同事的话", "同事的第二句", by_person=True)
    assert (await ended(shop))["同事的第二句"] == Status.DEAD
    assert shop.heard(customer)[4:] == ["同事的话"]
    assert shop.calls(SEND) == 5


async def test_the_customers_next_word_fills_the_window_again(shop: Town) -> None:
    customer = await asked(shop)
    await put(shop, customer, "一", "二", "三", "四")
    await ended(shop)
    shop.simulator.advance(10)
    shop.says(customer, "满多少包邮")
    await shop.heard_times(customer, 5)
    await put(shop, customer, "五", "六", "七", "八")
    await ended(shop)
    assert shop.heard(customer)[5:] == ["五", "六", "七"]


async def test_nothing_leaves_after_forty_eight_hours(shop: Town) -> None:
    customer = await asked(shop)
    shop.simulator.advance(2 * DAYS + 1)
    await put(shop, customer, "太晚了")
    assert (await ended(shop))["太晚了"] == Status.DEAD
    assert shop.calls(SEND) == 1


@pytest.mark.parametrize("state", [State.QUEUE, State.HUMAN])
async def test_nothing_leaves_while_people_have_the_talk(shop: Town, state: State) -> None:
    shop.simulator.world.kf.set_receiving(SERVICER, KF, state is State.HUMAN)
    customer = shop.customer()
    shop.says(customer, "人工")
    await shop.heard_times(customer, 2)
    async with asyncio.timeout(5):
        while (await conversation(shop, customer)).service_state != state:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    await put(shop, customer, "机器人插话")
    assert (await ended(shop))["机器人插话"] == Status.DEAD
    assert len(shop.heard(customer)) == 2


async def test_an_answer_that_still_waits_when_a_person_comes_never_appears(shop: Town) -> None:
    customer = await asked(shop)
    shop.simulator.faults.add(Fault(SEND, "errcode", errcode=45009))
    shop.says(customer, "满多少包邮")
    await shop.until(lambda: shop.calls(SEND, 45009))
    takes_over(shop, customer)
    shop.simulator.world.kf.reply(SERVICER, KF, customer, "text", {"content": "我来帮您"})
    await shop.quiet()
    shop.simulator.world.kf.end(SERVICER, KF, customer)
    shop.says(customer, "怎么退货")
    await shop.quiet()
    for _ in range(8):
        shop.simulator.advance(20)
        await shop.quiet(0.1)
    await shop.until(lambda: "【退货】" in shop.answers(customer))
    assert shop.answers(customer) == ["【发货】", "【退货】"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_an_answer_on_its_way_when_a_person_comes_is_refused_and_not_tried_again(
    database_url: str, tmp_path: Path
) -> None:
    """The one case in which WeCom has to say no: the call had left before anybody could know."""
    async with town(database_url, tmp_path) as shop:
        customer = await asked(shop)
        slow = Fault(SEND, "latency", seconds=0.4)
        shop.simulator.faults.add(slow)
        shop.says(customer, "满多少包邮")
        await shop.until(lambda: slow.used)
        takes_over(shop, customer)
        await shop.until(lambda: shop.calls(SEND, 95018) == 1)
        shop.simulator.world.kf.end(SERVICER, KF, customer)
        shop.says(customer, "怎么退货")
        await shop.until(lambda: "【退货】" in shop.answers(customer))
        assert shop.answers(customer) == ["【发货】", "【退货】"]
        assert shop.calls(SEND, 95018) == 1


async def test_many_quick_questions_share_few_messages(shop: Town) -> None:
    customer = await asked(shop)
    shop.simulator.roads.change({"coalesce": 0.1})
    for question in QUESTIONS:
        shop.says(customer, question)
    await shop.until(lambda: len(shop.answers(customer)) == 6)
    assert len(shop.heard(customer)) == 2
    assert shop.answers(customer)[1:] == list(QUESTIONS.values())


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_long_talk_of_single_questions_is_answered_to_the_end(database_url: str, tmp_path: Path) -> None:
    """Each word of the customer's fills the window: whoever asks one thing after the other is never cut off."""
    simulator = new_simulator(MovableClock(WORKING_TIME, rate=10))
    async with town(database_url, tmp_path, simulator=simulator) as shop:
        customer = shop.customer()
        for number in range(12):
            shop.says(customer, list(QUESTIONS)[number % 5])
            await shop.until(lambda number=number: len(shop.answers(customer)) == number + 1)  # type: ignore[misc]
            await shop.quiet(0.1)
        assert shop.calls(SEND, 95001) == 0
