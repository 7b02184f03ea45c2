"""The bot's address over HTTP: first a stream's id, then its progress, whatever happens in between."""

import asyncio
from datetime import timedelta

import pytest
import sqlalchemy as sa
from aiohttp import ClientSession

from bot import texts
from bot.groupbot import store
from bot.groupbot.answering import BotPlace, Mentions
from bot.models.faq import FaqQuestion, Follow
from bot.models.gateway import Handling
from crm.base.outbox import OutboxRow, Status
from tests.bot.groupbot.conftest import BOT_TOKEN, HELP, Hall, payload
from tests.bot.groupbot.test_payloads import recorded
from tests.bot.wecom.test_callback import Packet, counted

ONCE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


async def test_a_mention_is_answered_with_a_stream_that_finishes_on_refresh(hall: Hall) -> None:
    first = await hall.stream(payload("多久发货"))
    assert first == {
        "id": first["id"],
        "finish": False,
        "content": texts.GROUP_LOOKING,
        "feedback": {"id": first["id"]},
    }
    waiting = await hall.refresh(first["id"])
    assert (waiting["finish"], waiting["content"]) == (False, texts.GROUP_LOOKING)
    assert await hall.worker.round() == 1
    done = await hall.refresh(first["id"], nonce="r2")
    assert done == {"id": first["id"], "finish": True, "content": "【发货】付款后 48 小时内发出。"}
    (row,) = await hall.rows()
    assert (row.status, row.userid, row.chat_id, row.text) == (Handling.DONE, "adou", "C1", "多久发货")
    assert row.shown_at == hall.clock.now()


async def test_the_same_message_again_is_the_same_stream_and_answered_once(hall: Hall) -> None:
    first = await hall.stream(payload())
    again = await hall.stream(payload(), nonce="n2")
    assert again == first
    await hall.worker.round()
    late = await hall.stream(payload(), nonce="n3")
    assert (late["id"], late["finish"]) == (first["id"], True)
    assert await hall.worker.round() == 0
    assert len(await hall.rows()) == 1


async def test_the_same_envelope_again_is_a_replay(hall: Hall) -> None:
    before = counted("replayed", "aibot/helper")
    assert (await hall.post(payload()))[0] == 200
    assert (await hall.post(payload()))[0] == 403
    assert counted("replayed", "aibot/helper") == before + 1
    assert len(await hall.rows()) == 1


async def test_of_twenty_deliveries_at_once_one_is_stored(hall: Hall) -> None:
    answers = await asyncio.gather(*(hall.post(payload(), nonce=f"n{number % 10}") for number in range(20)))
    assert {status for status, _ in answers} <= {200, 403}
    streams = {reply["stream"]["id"] for _, reply in answers if reply is not None}
    assert len(streams) == len(await hall.rows()) == 1


async def test_two_workers_answer_each_mention_once(hall: Hall) -> None:
    for number in range(6):
        await hall.stream(payload(f"第{number}个怪问题", f"m{number}"), nonce=f"n{number}")
    other = Mentions(hall.service.app, {"helper": BotPlace(HELP)}, kept=timedelta(days=1))
    await asyncio.gather(hall.worker.round(), other.round())
    await hall.worker.round()
    async with hall.service.app.sessions.read() as session:
        assert await session.scalar(sa.select(sa.func.count()).select_from(FaqQuestion)) == 6


async def test_an_answer_that_comes_after_the_stream_goes_by_the_active_reply(hall: Hall) -> None:
    first = await hall.stream(payload())
    hall.clock.advance(minutes=5, seconds=45)
    closed = await hall.refresh(first["id"])
    assert (closed["finish"], closed["content"]) == (True, texts.GROUP_LATE)
    await hall.worker.round()
    async with hall.service.app.sessions.read() as session:
        (message,) = await session.scalars(sa.select(OutboxRow))
    (row,) = await hall.rows()
    assert (message.lane, message.status) == ("aibot", Status.WAITING)
    assert message.not_before == row.received_at + timedelta(minutes=6, seconds=20)
    assert message.deadline == row.received_at + timedelta(hours=1)
    hall.clock.advance(seconds=20)
    assert (await hall.refresh(first["id"], nonce="r2"))["content"] == texts.GROUP_LATE, "not by both ways"


async def test_without_an_address_for_it_a_late_answer_is_admitted(hall: Hall) -> None:
    first = await hall.stream(payload(response_url=""))
    hall.clock.advance(minutes=5, seconds=45)
    assert (await hall.refresh(first["id"]))["content"] == texts.GROUP_LOST


@ONCE
async def test_a_stream_nobody_knows_is_closed(hall: Hall) -> None:
    found = await hall.refresh("of-another-database")
    assert (found["finish"], found["content"]) == (True, texts.GROUP_LOST)


async def test_a_bug_is_tried_three_times_and_then_admitted(hall: Hall) -> None:
    app = hall.service.app
    shop, app.shop = app.shop, None  # type: ignore[assignment]
    first = await hall.stream(payload("你好"))
    for pause in (0, 1, 5):
        hall.clock.advance(seconds=pause)
        await hall.worker.round()
    app.shop = shop
    (row,) = await hall.rows()
    assert (row.status, row.attempts) == (Handling.DEAD, 3)
    assert (await hall.refresh(first["id"]))["content"] == texts.GROUP_LOST


async def test_a_bad_rating_puts_the_question_on_the_list_and_can_be_taken_back(hall: Hall) -> None:
    first = await hall.stream(payload())
    await hall.worker.round()

    async def rated(kind: int, nonce: str) -> FaqQuestion:
        told = recorded("feedback")
        told["event"]["feedback_event"] |= {"id": first["feedback"]["id"], "type": kind}
        assert await hall.post(told, nonce=nonce) == (200, None)
        async with hall.service.app.sessions.read() as session:
            return (await session.scalars(sa.select(FaqQuestion))).one()

    bad = await rated(2, "f1")
    assert (bad.follow, bad.unanswered) == (Follow.USELESS, True)
    assert not (await rated(3, "f2")).unanswered
    assert (await hall.rows())[0].feedback == 3


async def test_who_opens_the_chat_is_greeted_with_what_people_ask(hall: Hall) -> None:
    status, reply = await hall.post(recorded("enter_chat"))
    assert status == 200
    assert reply is not None
    assert reply["msgtype"] == "text"
    assert reply["text"]["content"].startswith(texts.GROUP_HELLO.format(shop="毛球小铺"))
    assert "多久发货" in reply["text"]["content"]


@ONCE
async def test_a_picture_is_answered_at_once_and_an_unknown_event_with_nothing(hall: Hall) -> None:
    found = await hall.stream(recorded("image"))
    assert (found["finish"], found["content"]) == (True, texts.GROUP_NOT_TEXT.format(kind="图片"))
    assert await hall.post(recorded("template_card"), nonce="n2") == (200, None)
    assert await hall.rows() == []


BAD: dict[str, tuple[dict[str, object], int, str]] = {
    "another-signature": ({"signature": "0" * 40}, 403, "signature"),
    "signed-with-another-token": ({"token": "Another"}, 403, "signature"),
    "six-minutes-old": ({"seconds_off": -360}, 403, "stale"),
    "six-minutes-ahead": ({"seconds_off": 360}, 403, "stale"),
    "with-a-receiveid": ({"receive_id": "ww0000000000000001"}, 403, "receiveid"),
    "padding-of-zeros": ({"pad": b""}, 400, "padding"),
    "length-beyond-the-end": ({"length": 2**31}, 400, "length"),
    "no-base64": ({"encrypted": "你好!!"}, 400, "base64"),
    "body-is-xml": ({"body": b"<xml><Encrypt>x</Encrypt></xml>"}, 400, "json"),
    "body-is-empty": ({"body": b""}, 400, "json"),
    "body-over-64-kb": ({"body": b" " * 70_000}, 413, "too_large"),
    "inside-no-json": ({"content": "hello"}, 400, "json"),
    "inside-a-list": ({"content": "[]"}, 400, "json"),
    "inside-nobody": ({"content": '{"msgid": "m1"}'}, 400, "json"),
    "inside-invalid-utf8": ({"content": b'{"msgid":"\xff"}'}, 400, "json"),
}


@ONCE
async def test_what_is_not_genuine_is_refused_counted_and_not_stored(hall: Hall) -> None:
    for name, (packet, status, outcome) in BAD.items():
        before = counted(outcome, "aibot/helper")
        assert await hall.post(**{"content": payload(), **packet}) == (status, None), name
        assert counted(outcome, "aibot/helper") == before + 1, name
    assert await hall.rows() == []


@ONCE
async def test_the_echo_is_answered_bare_and_only_to_who_signed_it(hall: Hall) -> None:
    echo = "1616140317555161061"
    for token, expected in ((BOT_TOKEN, (200, echo)), ("No", (403, ""))):
        packet = Packet(echo, receive_id="", token=token, key="BotKeyBotKeyBotKeyBotKeyBotKeyBotKeyBotKey1")
        query, _ = packet.request(hall.clock.now().timestamp())
        async with hall.http.get(hall.url, params={**query, "echostr": packet.sealed()}) as answer:
            assert (answer.status, await answer.text()) == expected
    async with ClientSession() as http, http.get(hall.url.replace("helper", "nobody")) as answer:
        assert answer.status == 404


async def test_what_was_said_is_forgotten_with_its_questions(hall: Hall) -> None:
    await hall.asked("多久发货")
    async with hall.service.app.sessions.begin() as session:
        assert await store.forget(session, before=hall.clock.now()) == 0
        assert await store.forget(session, before=hall.clock.now() + timedelta(seconds=1)) == 1
    assert await hall.rows() == []
