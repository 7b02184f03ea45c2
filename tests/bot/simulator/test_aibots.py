"""AI bots in internal groups: what a developer's bot is told, what it may answer, and what nobody lets it do."""

import json
import random
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from bot.simulator.envelope import Crypto, Sealed
from bot.simulator.refusals import NotPossible, Refusal, Unknown
from tests.bot.simulator.conftest import AES_KEY, ANN, TOKEN, Corp, until

ROOM = "inroom"


@dataclass
class BotService:
    """A bot under development: keeps what it was told, answers what the test says."""

    told: list[dict[str, Any]] = field(default_factory=list)
    answers: list[Any] = field(default_factory=list)  # a payload, raw bytes, or a status
    url: str = ""
    nonce: str = ""  # instead of the callback's

    @property
    def crypto(self) -> Crypto:
        return Crypto(TOKEN, AES_KEY, "", random.Random(1).randbytes)

    async def verify(self, request: web.Request) -> web.Response:
        query = request.query
        sealed = Sealed(query["echostr"], query["msg_signature"], query["timestamp"], query["nonce"])
        return web.Response(text=self.crypto.open(sealed))

    async def receive(self, request: web.Request) -> web.Response:
        query, packet = request.query, json.loads(await request.read())
        sealed = Sealed(packet["encrypt"], query["msg_signature"], query["timestamp"], query["nonce"])
        self.told.append(json.loads(self.crypto.open(sealed)))
        answer = self.answers.pop(0) if self.answers else None
        if answer is None:
            return web.Response()
        if isinstance(answer, int):
            return web.Response(status=answer)
        if isinstance(answer, bytes):
            return web.Response(body=answer)
        nonce = self.nonce or query["nonce"]
        reply = self.crypto.seal(json.dumps(answer), timestamp=1700000001, nonce=nonce)
        made = {"encrypt": reply.ciphertext, "msgsignature": reply.signature, "timestamp": 1700000001, "nonce": nonce}
        return web.json_response(made)


def stream(content: str, *, finish: bool = False, stream_id: str = "S1", **more: Any) -> dict[str, Any]:
    return {"msgtype": "stream", "stream": {"id": stream_id, "content": content, "finish": finish, **more}}


@pytest.fixture
async def bot_service() -> Any:
    received = BotService()
    app = web.Application()
    app.router.add_get("/bot", received.verify)
    app.router.add_post("/bot", received.receive)
    async with TestServer(app) as server:
        received.url = str(server.make_url("/bot"))
        yield received


@pytest.fixture
async def bot(corp: Corp, bot_service: BotService) -> str:
    """A bot in an internal group, its address saved over HTTP; its id."""
    corp.simulator.bot_calls.poll_seconds = 0.01
    made = await corp.do("bots", name="小助手")
    saved = await corp.do(f"bots/{made['id']}/callback", url=bot_service.url, token=TOKEN, aes_key=AES_KEY)
    assert saved["callback_url"] == bot_service.url
    corp.world.aibots.add_room("内购群", ["mei", "qiang"], [made["id"]], ROOM)
    bot_id: str = made["id"]
    return bot_id


async def says(corp: Corp, words: str, who: str = "mei", **more: Any) -> dict[str, Any]:
    return await corp.do(f"staff/{who}/rooms/{ROOM}/message", msgtype="text", text={"content": words}, **more)


async def seen(corp: Corp) -> list[dict[str, Any]]:
    found = (await corp.look(f"staff/mei/rooms/{ROOM}/messages"))["messages"]
    return [message["stream"] for message in found if message["msgtype"] == "stream"]


async def test_a_mention_arrives_whole_and_the_answer_grows_on_the_screen(
    corp: Corp, bot: str, bot_service: BotService
) -> None:
    bot_service.answers = [stream("正在", feedback={"id": "F1"}), stream("正在查"), 503, stream("好了", finish=True)]
    await says(corp, "没有提到谁")
    await says(corp, "@小助手 在吗")
    await until(lambda: len(bot_service.told) == 4)
    message, refresh = bot_service.told[0], bot_service.told[-1]
    assert message["response_url"].startswith(f"{corp.simulator.origin}/cgi-bin/aibot/response?response_code=")
    known = {name: message[name] for name in ("aibotid", "chatid", "chattype", "from", "msgtype", "text")}
    assert known == {
        "aibotid": bot,
        "chatid": ROOM,
        "chattype": "group",
        "from": {"userid": "mei"},
        "msgtype": "text",
        "text": {"content": "@小助手 在吗"},
    }
    assert (refresh["msgtype"], refresh["stream"]) == ("stream", {"id": "S1"})
    assert refresh["msgid"] != message["msgid"]
    (shown,) = await seen(corp)
    assert (shown["content"], shown["finish"], shown["feedback"]) == ("好了", True, "F1")


async def test_feedback_is_told_under_the_id_that_came_with_the_answer(
    corp: Corp, bot: str, bot_service: BotService
) -> None:
    bot_service.answers = [stream("好", finish=True, feedback={"id": "F1"})]
    await says(corp, "@小助手 在吗")
    await until(lambda: corp.simulator.callbacks.delivered == 1)
    seq = (await corp.look(f"staff/mei/rooms/{ROOM}/messages"))["messages"][-1]["seq"]
    assert await corp.do(f"staff/qiang/rooms/{ROOM}/rate", seq=seq, type=2, content="不对") == {}
    await until(lambda: len(bot_service.told) == 2)
    told = bot_service.told[1]
    assert told["event"]["feedback_event"] == {"id": "F1", "type": 2, "content": "不对", "inaccurate_reason_list": []}
    assert "response_url" not in told
    assert "error" in await corp.do(f"staff/qiang/rooms/{ROOM}/rate", seq=seq - 1, type=2)


async def test_the_first_look_of_the_day_is_told_and_may_be_greeted(
    corp: Corp, bot: str, bot_service: BotService
) -> None:
    bot_service.answers = [{"msgtype": "text", "text": {"content": "您好"}}]
    room = await corp.do(f"staff/mei/bots/{bot}/enter")
    await corp.do(f"staff/mei/bots/{bot}/enter")
    await until(lambda: bool(corp.world.chats.internal(room["chat_id"]).messages))
    (told,) = bot_service.told
    assert (told["chattype"], told["event"]) == ("single", {"eventtype": "enter_chat"})
    assert "chatid" not in told
    corp.after(24 * 3600)
    await corp.do(f"staff/mei/bots/{bot}/enter")
    await until(lambda: len(bot_service.told) == 2)


async def test_after_six_minutes_nobody_asks_any_more(corp: Corp, bot: str, bot_service: BotService) -> None:
    bot_service.answers = [stream("正在查"), *[stream("正在查")] * 500]
    await says(corp, "@小助手 在吗")
    await until(lambda: len(bot_service.told) > 3)
    corp.after(360)
    await until(lambda: corp.world.chats.internal(ROOM).messages[-1].payload.get("timed_out", False))
    asked = len(bot_service.told)
    corp.after(1)
    assert len(bot_service.told) - asked <= 1
    (shown,) = await seen(corp)
    assert (shown["content"], shown["finish"]) == ("正在查", True)


async def test_the_active_reply_works_once_within_the_hour(corp: Corp, bot: str, bot_service: BotService) -> None:
    for _ in range(2):
        await says(corp, "@小助手 在吗")
    await until(lambda: len(bot_service.told) == 2)
    first, second = (told["response_url"].rpartition("=")[2] for told in bot_service.told)
    answer = {"msgtype": "markdown", "markdown": {"content": "**查到了**"}}
    send = json.dumps(answer, ensure_ascii=False).encode()
    for code, errcode in ((first, 0), (first, 40029), ("nonsense", 40029)):
        told = await corp.raw("POST", "aibot/response", {"response_code": code}, send)
        assert told["errcode"] == errcode
    card = json.dumps({"msgtype": "template_card", "template_card": {}}).encode()
    assert (await corp.raw("POST", "aibot/response", {"response_code": second}, card))["errcode"] == 40008
    corp.after(3601)
    assert (await corp.raw("POST", "aibot/response", {"response_code": second}, send))["errcode"] == 40029
    assert corp.world.chats.internal(ROOM).messages[-1].payload == {"content": "**查到了**"}


WRONG: dict[str, Any] = {
    "not-json": b"success",
    "no-id": {"msgtype": "stream", "stream": {"content": "x", "finish": True}},
    "too-long": stream("猫" * 7000, finish=True),
    "images-too-early": stream("x", msg_item=[{"msgtype": "image"}]),
    "eleven-images": stream("x", finish=True, msg_item=[{"msgtype": "image"}] * 11),
    "finish-is-a-word": {"msgtype": "stream", "stream": {"id": "S", "content": "x", "finish": "yes"}},
    "long-feedback-id": stream("x", finish=True, feedback={"id": "f" * 257}),
    "a-text": {"msgtype": "text", "text": {"content": "x"}},
}


@pytest.mark.parametrize("name", WRONG)
async def test_a_reply_that_breaks_a_rule_is_not_shown_and_noted(
    corp: Corp, bot: str, bot_service: BotService, name: str
) -> None:
    bot_service.answers = [WRONG[name]]
    await says(corp, "@小助手 在吗")
    await until(lambda: bool(corp.simulator.callbacks.problems))
    assert "智能机器人 小助手" in corp.simulator.callbacks.problems[0]
    assert await seen(corp) == []


async def test_a_reply_under_another_nonce_is_none(corp: Corp, bot: str, bot_service: BotService) -> None:
    bot_service.nonce, bot_service.answers = "another", [stream("x", finish=True)]
    await says(corp, "@小助手 在吗")
    await until(lambda: bool(corp.simulator.callbacks.problems))


async def test_a_bot_that_does_not_answer_is_told_three_times_more(
    corp: Corp, bot: str, bot_service: BotService
) -> None:
    bot_service.answers = [500, 500, 500, stream("来了", finish=True)]
    await says(corp, "@小助手 在吗")
    await until(lambda: len(bot_service.told) == 4)
    assert len({told["msgid"] for told in bot_service.told}) == 1
    await until(lambda: corp.simulator.callbacks.delivered == 1)


async def test_who_is_not_staff_gets_in_nowhere(corp: Corp, bot: str) -> None:
    with pytest.raises(Unknown):
        corp.world.aibots.add_room("混进来", ["mei", ANN], [bot])
    with pytest.raises(NotPossible):
        corp.world.aibots.add_room("一个人", ["mei"], [bot])
    assert "error" in await says(corp, "我也来", who="Lin")
    assert "error" in await corp.do("bots/none/callback", url="http://127.0.0.1:1/", token=TOKEN, aes_key=AES_KEY)
    bad = await corp.do(f"bots/{bot}/callback", url="http://127.0.0.1:1/", token=TOKEN, aes_key="short")
    assert "EncodingAESKey" in bad["error"]
    with pytest.raises(Refusal):
        corp.world.aibots.respond(None, {})
