"""Tokens, error bodies, methods, limits and scripted faults: what every call has in common."""

import asyncio
from typing import Any

import aiohttp
import pytest

from bot.simulator.faults import Fault
from tests.bot.simulator.conftest import ANN, BOB, CORPID, KF, SECRET, Corp

STATE = {"open_kfid": KF, "external_userid": ANN}


async def test_a_token_stays_the_same_until_it_expires(corp: Corp) -> None:
    query = {"corpid": CORPID, "corpsecret": SECRET}
    first = await corp.raw("GET", "gettoken", query)
    corp.after(7000)
    second = await corp.raw("GET", "gettoken", query)
    corp.after(201)
    third = await corp.raw("GET", "gettoken", query)
    assert (first["expires_in"], second["expires_in"], third["expires_in"]) == (7200, 200, 7200)
    assert first["access_token"] == second["access_token"] != third["access_token"]
    assert (await corp.raw("GET", "getcallbackip", {"access_token": first["access_token"]}))["errcode"] == 42001


@pytest.mark.parametrize(
    ("query", "errcode"),
    [
        ({}, 41004),
        ({"corpid": CORPID}, 41004),
        ({"corpsecret": SECRET}, 41002),
        ({"corpid": "wwother", "corpsecret": SECRET}, 40013),
        ({"corpid": "wwother", "corpsecret": "wrong"}, 40013),
        ({"corpid": CORPID, "corpsecret": "wrong"}, 40001),
    ],
)
async def test_gettoken_refuses(corp: Corp, query: dict[str, str], errcode: int) -> None:
    assert (await corp.raw("GET", "gettoken", query))["errcode"] == errcode


async def test_ten_wrong_secrets_ban_the_address_for_an_hour(corp: Corp) -> None:
    right = {"corpid": CORPID, "corpsecret": SECRET}
    for _ in range(10):
        await corp.raw("GET", "gettoken", {**right, "corpsecret": "wrong"})
    assert (await corp.raw("GET", "gettoken", right))["errcode"] == 45009
    corp.after(3601)
    assert (await corp.raw("GET", "gettoken", right))["errcode"] == 0


@pytest.mark.parametrize(("action", "errcode"), [("expire", 42001), ("revoke", 40014)])
async def test_tokens_are_spoiled_on_request_and_then_renewed(corp: Corp, action: str, errcode: int) -> None:
    await corp.call("getcallbackip")
    await corp.do("tokens", action=action)
    refused = await corp.call("externalcontact/get_follow_user_list")
    assert (refused["errcode"], refused["follow_user"]) == (errcode, [])
    corp.token = ""
    assert (await corp.call("getcallbackip"))["errcode"] == 0


async def test_only_the_query_carries_the_token(corp: Corp) -> None:
    async with corp.web.get("/cgi-bin/getcallbackip", headers={"Authorization": "Bearer x"}) as response:
        told = await response.json()
    assert (told["errcode"], told["ip_list"]) == (41001, [])
    assert (await corp.raw("GET", "getcallbackip", {"access_token": "made-up"}))["errmsg"] == "invalid access_token"


async def test_an_unknown_path_is_an_empty_404(corp: Corp) -> None:
    async with corp.web.post("/cgi-bin/kf/no_such_call") as response:
        assert (response.status, await response.read()) == (404, b"")


@pytest.mark.parametrize(
    ("body", "errcode"),
    [
        (b"{broken", 40058),
        (b"[1]", 40058),
        (b"\xff\xfe", 40058),
        (b'{"open_kfid": "\\u4f60"}', 40033),
        (b'{"open_kfid": "wk\\u000a"}', 95004),
    ],
    ids=["broken", "a list", "not UTF-8", "escaped Chinese", "an escaped control character is fine"],
)
async def test_bodies_are_json_objects_in_plain_utf8(corp: Corp, body: bytes, errcode: int) -> None:
    await corp.call("getcallbackip")
    told = await corp.raw("POST", "kf/sync_msg", {"access_token": corp.token}, body)
    assert told["errcode"] == errcode
    assert told["msg_list"] == []


async def test_the_wrong_method_is_40063(corp: Corp) -> None:
    assert (await corp.call("kf/sync_msg"))["errcode"] == 40063


async def test_an_app_without_the_module_may_not_call_it(corp: Corp) -> None:
    app = next(iter(corp.world.corp.apps.values()))
    app.kf = app.contacts = False
    assert (await corp.call("kf/service_state/get", STATE))["errcode"] == 48002
    assert (await corp.call("externalcontact/list", userid="mei"))["errcode"] == 48002


async def test_the_minute_limit_ends_with_the_minute(corp: Corp) -> None:
    await corp.do("limits", per_minute={"/cgi-bin/getcallbackip": 2})
    codes = [(await corp.call("getcallbackip"))["errcode"] for _ in range(3)]
    corp.after(60)
    assert [*codes, (await corp.call("getcallbackip"))["errcode"]] == [0, 0, 45009, 0]


async def test_calls_in_flight_are_limited_and_counted_out_again(corp: Corp) -> None:
    await corp.call("getcallbackip")
    await corp.do("limits", in_flight={"/cgi-bin/getcallbackip": 1})
    await corp.do("faults", path="/cgi-bin/getcallbackip", kind="latency", seconds=0.1, times=2)
    told = await asyncio.gather(corp.call("getcallbackip"), corp.call("getcallbackip"))
    assert sorted(each["errcode"] for each in told) == [0, 45033]
    assert (await corp.call("getcallbackip"))["errcode"] == 0


async def test_a_scripted_errcode_hits_as_often_as_told_and_changes_nothing(corp: Corp) -> None:
    await corp.says(ANN, "在吗")
    await corp.do("faults", path="/cgi-bin/kf/send_msg", kind="errcode", errcode=-1, times=2)
    assert [(await corp.send())["errcode"] for _ in range(3)] == [-1, -1, 0]
    assert await corp.seen(ANN) == ["在吗", "好的"]


@pytest.mark.parametrize(("kind", "arrived"), [("drop_before", 0), ("drop_after", 1)])
async def test_a_dropped_connection_acts_or_not(corp: Corp, kind: str, arrived: int) -> None:
    await corp.says(ANN, "在吗")
    await corp.call("getcallbackip")
    await corp.do("faults", path="/cgi-bin/kf/send_msg", kind=kind)
    with pytest.raises(aiohttp.ClientError):
        await corp.send(msgid="m1")
    assert (await corp.seen(ANN)).count("好的") == arrived
    assert (await corp.send(msgid="m1"))["errcode"] == (40058 if arrived else 0)
    assert (await corp.seen(ANN)).count("好的") == 1


@pytest.mark.parametrize(("kind", "status"), [("http500", 500), ("garbage", 200)])
async def test_answers_that_are_not_json(corp: Corp, kind: Any, status: int) -> None:
    corp.simulator.faults.add(Fault("*", kind))
    async with corp.web.get("/cgi-bin/getcallbackip") as response:
        assert (response.status, response.content_type != "application/json") == (status, True)


async def test_faults_can_be_cleared_and_bad_ones_are_refused_in_words(corp: Corp) -> None:
    await corp.do("faults", path="*", kind="errcode", errcode=-1, times=0)
    assert "errcode" in str(await corp.look("faults"))
    async with corp.web.delete("/sim/faults") as response:
        assert await response.json() == {"faults": []}
    async with corp.web.post("/sim/faults", json={"kind": "earthquake"}) as response:
        assert (response.status, "earthquake" in (await response.json())["error"]) == (400, True)


async def test_the_log_tells_what_was_asked_and_answered_without_the_token(corp: Corp) -> None:
    await corp.says(ANN, "在吗")
    await corp.send(content="在的")
    [call] = (await corp.look("log", path="/cgi-bin/kf/send_msg"))["calls"]
    assert (call["request"]["text"], call["errcode"], call["agentid"]) == ({"content": "在的"}, 0, 1000002)
    assert corp.token not in str(call)
    assert (await corp.look("log", after=call["seq"]))["calls"] == []


async def test_the_log_keeps_only_the_head_of_long_lists(corp: Corp) -> None:
    for number in range(25):
        await corp.says(ANN, str(number))
    await corp.pull()
    await corp.pull(limit=1)
    [last] = (await corp.look("log", limit=1))["calls"]
    [first, _] = (await corp.look("log", path="/cgi-bin/kf/sync_msg"))["calls"]
    assert (len(last["response"]["msg_list"]), len(first["response"]["msg_list"])) == (1, 21)
    assert "25" in first["response"]["msg_list"][-1]


async def test_the_clock_moves_forward_only(corp: Corp) -> None:
    before = (await corp.look("clock"))["now"]
    assert (await corp.do("clock", advance=3600))["now"] == before + 3600
    assert "error" in await corp.do("clock", advance=-1)
    assert "error" in await corp.do("clock", advance="一小时")


async def test_two_customers_do_not_share_anything(corp: Corp) -> None:
    await corp.says(ANN, "我是安安")
    await corp.says(BOB, "我是波波")
    assert (await corp.seen(ANN), await corp.seen(BOB)) == (["我是安安"], ["我是波波"])
