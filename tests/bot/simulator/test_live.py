"""What open pages receive: live streams, catching up, what a phone and a client show, and stopping in time."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import ClientResponse

from bot.simulator.feed import QUEUE, Feed
from bot.simulator.server import serve
from bot.simulator.simulator import Simulator
from tests.bot.simulator.conftest import AGENTID, ANN, BOB, KF, Corp

News = tuple[str, dict[str, Any]]


@asynccontextmanager
async def stream(corp: Corp, path: str) -> AsyncIterator[ClientResponse]:
    async with corp.web.get(f"/sim/{path}/stream") as response:
        assert response.content_type == "text/event-stream"
        await response.content.readuntil(b"\n\n")
        yield response


async def news(response: ClientResponse) -> News:
    block = (await asyncio.wait_for(response.content.readuntil(b"\n\n"), 3)).decode()
    lines = dict(line.split(": ", 1) for line in block.strip().splitlines())
    return lines["event"], json.loads(lines["data"])


async def messages(response: ClientResponse, count: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while len(found) < count:
        event, data = await news(response)
        if event == "message":
            found.append(data)
    return found


async def test_a_phone_sees_a_reply_the_moment_it_is_sent(corp: Corp) -> None:
    async with stream(corp, f"phone/{ANN}") as phone:
        await corp.says(ANN, "在吗")
        await corp.says(BOB, "别人的话")
        await corp.send(content="在的")
        seen = await messages(phone, 2)
    assert [each["text"]["content"] for each in seen] == ["在吗", "在的"]
    assert [each["from"]["kind"] for each in seen] == ["customer", "bot"]
    assert seen[1]["from"]["name"] == "小店客服"


async def test_a_reconnecting_page_catches_up_after_the_last_seq(corp: Corp) -> None:
    said = [await corp.says(ANN, f"第{number}句") for number in range(5)]
    path = f"phone/{ANN}/chats/{KF}/messages"
    later = (await corp.look(path, after=said[2]["seq"]))["messages"]
    assert [each["text"]["content"] for each in later] == ["第3句", "第4句"]
    assert len((await corp.look(path, after=said[0]["seq"], limit=2))["messages"]) == 2
    newest = (await corp.look(path, limit=2))["messages"]
    assert [each["text"]["content"] for each in newest] == ["第3句", "第4句"]
    assert "error" in await corp.look(path, after="昨天")


async def test_a_client_hears_of_its_sessions_tasks_and_cards(corp: Corp) -> None:
    async with stream(corp, "staff/mei") as client:
        await corp.says(ANN, "转人工")
        who = {"open_kfid": KF, "external_userid": ANN}
        await corp.call("kf/service_state/trans", {**who, "service_state": 2})
        await corp.call("externalcontact/add_msg_template", {"sender": "mei", "text": {"content": "秒杀"}})
        card = {"touser": "mei", "agentid": AGENTID, "msgtype": "text", "text": {"content": "有排队"}}
        await corp.call("message/send", card)
        heard: list[str] = []
        while set(heard) != {"sessions", "tasks", "cards"}:
            event, data = await news(client)
            heard += [data["what"]] if event == "changed" else []


async def test_a_servicer_sees_the_conversation_they_hold(corp: Corp) -> None:
    await corp.says(ANN, "转人工")
    who = {"open_kfid": KF, "external_userid": ANN}
    await corp.call("kf/service_state/trans", {**who, "service_state": 3, "servicer_userid": "mei"})
    async with stream(corp, "staff/mei") as client:
        await corp.says(ANN, "我的订单呢")
        [message] = await messages(client, 1)
    assert (message["text"]["content"], message["customer"]) == ("我的订单呢", ANN)
    shown = (await corp.look(f"staff/mei/kf/{KF}/{ANN}/messages"))["messages"]
    assert [each["msgtype"] for each in shown] == ["text", "event", "text"]


async def test_everybody_in_a_group_sees_what_is_said_there(corp: Corp) -> None:
    async with stream(corp, f"phone/{BOB}") as phone, stream(corp, "staff/mei") as client:
        await corp.says(ANN, "大家好", "wrgroup")
        [on_phone], [on_client] = await messages(phone, 1), await messages(client, 1)
    assert on_phone == on_client
    assert on_phone["from"]["name"] == "安安"


async def test_unread_counts_until_the_chat_is_read(corp: Corp) -> None:
    await corp.says(ANN, "在吗")
    for _ in range(3):
        await corp.send()
    [chat] = [each for each in (await corp.look(f"phone/{ANN}"))["chats"] if each["kind"] == "kf"]
    assert (chat["unread"], chat["last"]["text"], chat["state"]) == (3, "好的", 1)
    await corp.do(f"phone/{ANN}/read", chat_id=KF)
    [chat] = [each for each in (await corp.look(f"phone/{ANN}"))["chats"] if each["kind"] == "kf"]
    assert chat["unread"] == 0


async def test_the_phone_offers_who_can_be_added_and_what_can_be_joined(corp: Corp) -> None:
    corp.world.add_group("另一个群", "qiang", chat_id="wrother")
    shown = await corp.look(f"phone/{ANN}")
    assert [each["userid"] for each in shown["can_add"]] == ["qiang", "Lin"]
    assert shown["groups_joinable"] == [{"chat_id": "wrother", "name": "另一个群"}]
    assert shown["friends"] == ["mei"]


async def test_unknown_people_are_404(corp: Corp) -> None:
    for path in ("phone/wmnobody", "phone/wmnobody/stream", "staff/nobody", "staff/nobody/stream"):
        async with corp.web.get(f"/sim/{path}") as response:
            assert response.status == 404


def test_a_page_that_cannot_keep_up_is_cut_off_and_costs_no_more() -> None:
    feed = Feed()
    queue = feed.subscribe("phone:x")
    for number in range(QUEUE + 1):
        feed.publish("phone:x", "message", {"seq": number})
    assert (queue.get_nowait(), queue.empty(), feed.wanted("phone:x")) == (None, True, False)


async def test_open_streams_do_not_hold_up_the_stop(corp: Corp) -> None:
    runner = await serve(Simulator(), port=0)
    await asyncio.wait_for(runner.cleanup(), 2)
    async with stream(corp, f"phone/{ANN}") as phone:
        await corp.simulator.stop()
        assert await asyncio.wait_for(phone.content.read(), 3) == b""
