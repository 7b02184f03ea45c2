"""App messages, cards, robots, media, and visitors of H5 pages over HTTP."""

import base64
import hashlib
import io
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from aiohttp import FormData

from tests.bot.simulator.conftest import AGENTID, ANN, BOB, CORPID, PNG, Corp
from tests.bot.simulator.test_callbacks import reply

CARD: dict[str, Any] = {
    "card_type": "button_interaction",
    "task_id": "esc_1",
    "main_title": {"title": "客户转人工"},
    "button_list": [{"text": "我来接待", "key": "accept"}, {"text": "转给同事", "key": "pass"}],
}
VOTE: dict[str, Any] = {
    "card_type": "vote_interaction",
    "task_id": "vote_1",
    "checkbox": {"question_key": "q1", "option_list": [{"id": "o1", "text": "上架"}, {"id": "o2", "text": "不上"}]},
    "submit_button": {"text": "提交", "key": "submit"},
}


async def send(corp: Corp, **body: Any) -> dict[str, Any]:
    text = {"msgtype": "text", "text": {"content": "有新工单"}}
    return await corp.call("message/send", {"touser": "mei", "agentid": AGENTID, **text, **body})


async def send_card(corp: Corp, card: dict[str, Any] = CARD, **body: Any) -> dict[str, Any]:
    return await send(corp, msgtype="template_card", template_card=card, **body)


async def shown(corp: Corp, userid: str = "mei") -> list[dict[str, Any]]:
    notices: list[dict[str, Any]] = (await corp.look(f"staff/{userid}"))["cards"]
    return notices


# sending


async def test_invalid_receivers_are_named_in_lower_case_and_the_rest_get_it(corp: Corp) -> None:
    told = await send(corp, touser="Mei|Ghost|Lin", toparty="9", totag="3")
    assert (told["invaliduser"], told["invalidparty"], told["invalidtag"]) == ("ghost", "9", "3")
    assert told["msgid"]
    assert ([len(await shown(corp, userid)) for userid in ("mei", "Lin", "qiang")]) == [1, 1, 0]


@pytest.mark.parametrize(
    ("change", "errcode"),
    [
        ({"touser": "@all"}, 0),
        ({"touser": "", "toparty": "1"}, 0),
        ({"touser": ""}, 40063),
        ({"touser": "ghost|spook"}, 81013),
        ({"touser": "|".join(f"u{number}" for number in range(1001))}, 40032),
        ({"agentid": 7}, 301002),
        ({"agentid": None}, 40056),
        ({"msgtype": "hologram"}, 40008),
        ({"text": {"content": ""}}, 44004),
        ({"text": {"content": "长" * 683}}, 40058),
        ({"msgtype": "image", "image": {"media_id": "old"}}, 40007),
        ({"msgtype": "textcard", "textcard": {"title": "t", "description": "d", "url": "https://a.cn"}}, 0),
        ({"msgtype": "textcard", "textcard": {"title": "t", "description": "d", "url": "a.cn"}}, 45034),
        ({"msgtype": "news", "news": {"articles": [{"title": "t", "url": "https://a.cn"}] * 9}}, 45008),
        ({"msgtype": "news", "news": {"articles": []}}, 40063),
        ({"msgtype": "markdown", "markdown": {"content": "**急**"}}, 0),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_message_send_is_checked(corp: Corp, change: dict[str, Any], errcode: int) -> None:
    assert (await send(corp, **change))["errcode"] == errcode


@pytest.mark.parametrize(
    ("card", "errcode"),
    [
        ({**CARD, "card_type": "hologram"}, 40058),
        ({**CARD, "task_id": ""}, 42014),
        ({**CARD, "task_id": "任务"}, 42014),
        ({**CARD, "button_list": []}, 40058),
        ({**CARD, "button_list": [{"text": "没有键"}]}, 40058),
        ({**CARD, "button_list": CARD["button_list"] * 4}, 40058),
        ({**CARD, "horizontal_content_list": [{"keyname": "k"}] * 7}, 40058),
        ({**VOTE, "checkbox": {"question_key": "q", "option_list": []}}, 40058),
        ({"card_type": "multiple_interaction", "task_id": "t", "submit_button": {"text": "x", "key": "k"}}, 40058),
        ({"card_type": "text_notice", "main_title": {"title": "t"}}, 42045),
        ({"card_type": "text_notice", "card_action": {"type": 1, "url": "https://a.cn"}}, 0),
        (VOTE, 0),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_cards_are_checked(corp: Corp, card: dict[str, Any], errcode: int) -> None:
    assert (await send_card(corp, card))["errcode"] == errcode


async def test_interactive_cards_need_a_callback_url_and_a_new_task_id(corp: Corp) -> None:
    assert (await send_card(corp))["errcode"] == 0
    assert (await send_card(corp))["errcode"] == 42014
    corp.world.corp.apps[AGENTID].callback = None
    assert (await send_card(corp, {**CARD, "task_id": "esc_2"}))["errcode"] == 43012


async def test_the_duplicate_check_drops_silently_inside_its_interval(corp: Corp) -> None:
    check = {"enable_duplicate_check": 1, "duplicate_check_interval": 60}
    assert [(await send(corp, **check))["errcode"] for _ in range(2)] == [0, 0]
    assert len(await shown(corp)) == 1
    await send(corp)
    corp.after(60)
    await send(corp, **check)
    assert len(await shown(corp)) == 3
    assert (await send(corp, **{**check, "duplicate_check_interval": 15_000}))["errcode"] == 40058


async def test_the_31st_message_in_a_minute_vanishes(corp: Corp) -> None:
    assert {(await send(corp))["errcode"] for _ in range(31)} == {0}
    assert len(await shown(corp)) == 30
    corp.after(60)
    await send(corp)
    assert len(await shown(corp)) == 31


async def test_a_message_can_be_recalled_for_a_day(corp: Corp) -> None:
    first, second = (await send(corp))["msgid"], (await send(corp, text={"content": "二"}))["msgid"]
    assert (await corp.call("message/recall", {"msgid": first}))["errcode"] == 0
    assert [each["content"]["content"] for each in await shown(corp)] == ["二"]
    corp.after(86_401)
    assert (await corp.call("message/recall", {"msgid": second}))["errcode"] == 40058


# cards


async def press(corp: Corp, key: str = "accept", userid: str = "mei", **more: Any) -> dict[str, Any]:
    card = (await shown(corp, userid))[0]
    return await corp.do(f"staff/{userid}/cards/{card['id']}/press", key=key, **more)


async def test_pressing_a_button_tells_the_app_and_its_code_updates_the_card_once(corp: Corp) -> None:
    await send_card(corp, touser="mei|qiang")
    await press(corp)
    [event] = await corp.settled()
    assert (event["Event"], event["EventKey"], event["TaskId"]) == ("template_card_event", "accept", "esc_1")
    assert (event["CardType"], event["FromUserName"], event["AgentID"]) == ("button_interaction", "mei", str(AGENTID))
    update = {
        "userids": ["mei", "qiang", "ghost"],
        "agentid": AGENTID,
        "response_code": event["ResponseCode"],
        "button": {"replace_name": "王小美已接待"},
    }
    told = await corp.call("message/update_template_card", update)
    assert (told["errcode"], told["invaliduser"]) == (0, ["ghost"])
    assert [(await shown(corp, userid))[0]["replaced"] for userid in ("mei", "qiang")] == ["王小美已接待"] * 2
    assert (await corp.call("message/update_template_card", update))["errcode"] == 42014
    assert "error" in await press(corp, userid="qiang")


async def test_the_code_of_the_sending_works_for_72_hours(corp: Corp) -> None:
    code = (await send_card(corp))["response_code"]
    update = {"userids": ["mei"], "agentid": AGENTID, "response_code": code, "template_card": {**CARD, "task_id": "n"}}
    corp.after(72 * 3600 + 1)
    assert (await corp.call("message/update_template_card", update))["errcode"] == 42014
    code = (await send_card(corp, {**CARD, "task_id": "esc_9"}))["response_code"]
    assert (await corp.call("message/update_template_card", {**update, "response_code": code}))["errcode"] == 0
    assert (await shown(corp))[0]["card"]["task_id"] == "n"


async def test_selected_options_are_written_as_the_vendor_does(corp: Corp) -> None:
    await send_card(corp, VOTE)
    await press(corp, "submit", selected={"q1": ["o2"]})
    [event] = await corp.settled()
    assert event["SelectedItems"] == {"SelectedItem": {"QuestionKey": "q1", "OptionIds": {"OptionId": "o2"}}}


async def test_the_cards_menu_is_another_event(corp: Corp) -> None:
    menu = {"desc": "更多", "action_list": [{"text": "静音", "key": "mute"}]}
    await send_card(corp, {**CARD, "action_menu": menu})
    await press(corp, "mute")
    assert [event["Event"] for event in await corp.settled()] == ["template_card_menu_event"]


async def test_a_key_that_is_not_on_the_card_cannot_be_pressed(corp: Corp) -> None:
    await send_card(corp)
    assert "按钮" in (await press(corp, "explode"))["error"]


async def test_a_passive_reply_replaces_the_pressed_button(corp: Corp) -> None:
    inner = "<MsgType>update_button</MsgType><Button><ReplaceName><![CDATA[已接单]]></ReplaceName></Button>"
    corp.service.answers = [reply(corp.service, inner)]
    await send_card(corp)
    await press(corp)
    await corp.settled()
    assert (await shown(corp))[0]["replaced"] == "已接单"


async def test_a_passive_reply_may_bring_a_whole_card(corp: Corp) -> None:
    inner = (
        "<MsgType>update_template_card</MsgType><TemplateCard><CardType>text_notice</CardType>"
        "<MainTitle><Title>已处理</Title></MainTitle></TemplateCard>"
    )
    corp.service.answers = [reply(corp.service, inner)]
    await send_card(corp)
    await press(corp)
    await corp.settled()
    assert (await shown(corp))[0]["card"] == {"card_type": "text_notice", "main_title": {"title": "已处理"}}


# robots


async def post(corp: Corp, key: str, **body: Any) -> int:
    async with corp.web.post("/cgi-bin/webhook/send", params={"key": key}, data=_utf8(body)) as response:
        return int((await response.json())["errcode"])


def _utf8(body: dict[str, Any]) -> bytes:
    return json.dumps(body, ensure_ascii=False).encode()


async def test_a_robot_posts_twenty_times_a_minute(corp: Corp) -> None:
    key = (await corp.do("webhooks", name="值班群"))["key"]
    text = {"msgtype": "text", "text": {"content": "有人吗"}}
    assert {await post(corp, key, **text) for _ in range(20)} == {0}
    assert await post(corp, key, **text) == 45009
    corp.after(60)
    assert await post(corp, key, **text) == 0
    assert len((await corp.look("webhooks"))["robots"][0]["posts"]) == 21


def _image(data: bytes, md5: str = "") -> dict[str, Any]:
    return {"base64": base64.b64encode(data).decode(), "md5": md5 or hashlib.md5(data).hexdigest()}


@pytest.mark.parametrize(
    ("body", "errcode"),
    [
        ({"msgtype": "markdown", "markdown": {"content": "长" * 1366}}, 40058),
        ({"msgtype": "markdown_v2", "markdown_v2": {"content": "| a |"}}, 0),
        ({"msgtype": "image", "image": _image(PNG)}, 0),
        ({"msgtype": "image", "image": _image(PNG, "0" * 32)}, 40058),
        ({"msgtype": "image", "image": _image(b"no picture")}, 40009),
        ({"msgtype": "image", "image": {"base64": "不是", "md5": "x"}}, 40058),
        ({"msgtype": "file", "file": {"media_id": "made-up"}}, 40007),
        ({"msgtype": "news", "news": {"articles": []}}, 40063),
        ({"msgtype": "template_card", "template_card": CARD}, 40058),
        ({"msgtype": "hologram", "hologram": {}}, 40008),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_what_a_robot_posts_is_checked(corp: Corp, body: dict[str, Any], errcode: int) -> None:
    assert await post(corp, (await corp.do("webhooks", name="值班群"))["key"], **body) == errcode


async def test_robots_that_are_gone_or_disabled_post_nothing(corp: Corp) -> None:
    await corp.do("webhooks", name="停用", key="stopped", disabled=True)
    text = {"msgtype": "text", "text": {"content": "喂"}}
    assert (await post(corp, "made-up", **text), await post(corp, "stopped", **text)) == (93000, 93004)


async def test_an_empty_upload_is_refused_before_the_key(corp: Corp) -> None:
    assert (await corp.raw("POST", "webhook/upload_media", {"key": "made-up", "type": "file"}))["errcode"] == 44001
    form = FormData()
    form.add_field("media", b"report," * 10, filename="a.csv")
    assert (await corp.raw("POST", "webhook/upload_media", {"key": "no", "type": "file"}, form))["errcode"] == 93000


# media


@pytest.mark.parametrize(
    ("kind", "data", "errcode"),
    [
        ("image", PNG, 0),
        ("image", b"GIF89a-not-allowed", 40009),
        ("image", b"\x89PNG", 40006),
        ("voice", bytes(2 * 1024 * 1024 + 1), 45001),
        ("file", b"", 44001),
        ("hologram", PNG, 40004),
    ],
)
async def test_uploads_are_checked(corp: Corp, kind: str, data: bytes, errcode: int) -> None:
    await corp.call("getcallbackip")
    form = FormData()
    form.add_field("media", io.BytesIO(data), filename="x", content_type="application/octet-stream")
    told = await corp.raw("POST", "media/upload", {"access_token": corp.token, "type": kind}, form)
    assert told["errcode"] == errcode
    assert errcode or isinstance(told["created_at"], str)


async def test_media_comes_back_as_bytes_or_as_a_refusal(corp: Corp) -> None:
    media_id = await corp.upload()
    query = {"access_token": corp.token, "media_id": media_id}
    async with corp.web.get("/cgi-bin/media/get", params=query) as response:
        assert (response.content_type, await response.read()) == ("image/png", PNG)
    assert (await corp.call("media/get", media_id="made-up"))["errcode"] == 40007


# visitors


def ask(**change: str) -> dict[str, str]:
    query = {"appid": CORPID, "redirect_uri": "https://shop.example/h5?sale=7", "response_type": "code"}
    return {**query, "scope": "snsapi_base", "state": "S1", "agentid": str(AGENTID), **change}


async def visit(corp: Corp, **change: str) -> dict[str, list[str]]:
    async with corp.web.get("/connect/oauth2/authorize", params=ask(**change), allow_redirects=False) as response:
        assert response.status == 302
        return parse_qs(urlsplit(response.headers["Location"]).query)


@pytest.mark.parametrize(
    ("who", "named"),
    [
        ("staff:mei", {"userid"}),
        (f"customer:{ANN}", {"openid", "external_userid"}),
        ("stranger", {"openid"}),
    ],
)
async def test_a_code_names_its_visitor_once(corp: Corp, who: str, named: set[str]) -> None:
    landed = await visit(corp, **{"as": who})
    assert (landed["sale"], landed["state"]) == (["7"], ["S1"])
    code = landed["code"][0]
    told = await corp.call("auth/getuserinfo", code=code)
    assert told.keys() - {"errcode", "errmsg"} == named
    assert (await corp.call("auth/getuserinfo", code=code))["errcode"] == 40029


async def test_a_code_is_good_for_five_minutes(corp: Corp) -> None:
    code = (await visit(corp, **{"as": "staff:mei"}))["code"][0]
    corp.after(301)
    assert (await corp.call("auth/getuserinfo", code=code))["errcode"] == 40029


async def test_nobodys_customer_is_a_stranger_to_the_app(corp: Corp) -> None:
    await corp.do(f"staff/mei/contacts/{BOB}/delete")
    code = (await visit(corp, **{"as": f"customer:{BOB}"}))["code"][0]
    assert "external_userid" not in await corp.call("auth/getuserinfo", code=code)


async def test_without_a_cookie_the_page_asks_who_is_there(corp: Corp) -> None:
    corp.world.add_customer("<script>坏</script>")
    async with corp.web.get("/connect/oauth2/authorize", params=ask()) as response:
        page = await response.text()
    assert "客户 安安" in page
    assert "<script>" not in page


async def test_opening_a_link_on_a_phone_tells_the_page_who_it_is(corp: Corp) -> None:
    path = f"/sim/phone/{ANN}/open"
    async with corp.web.get(path, params={"url": "https://shop.example/"}, allow_redirects=False) as response:
        assert (response.status, f"customer:{ANN}" in response.headers["Set-Cookie"]) == (302, True)
    async with corp.web.get(path, params={"url": "javascript:alert(1)"}, allow_redirects=False) as response:
        assert response.status == 400


@pytest.mark.parametrize(
    "change",
    [
        {"redirect_uri": "https://evil.example/"},
        {"redirect_uri": "not a page"},
        {"appid": "wwother"},
        {"as": "staff:x"},
    ],
)
async def test_a_page_that_is_not_trusted_gets_no_code(corp: Corp, change: dict[str, str]) -> None:
    corp.world.corp.apps[AGENTID].trusted_domains = {"shop.example"}
    async with corp.web.get("/connect/oauth2/authorize", params=ask(**change), allow_redirects=False) as response:
        assert response.status == 400


async def test_tickets_differ_by_kind(corp: Corp) -> None:
    jsapi, agent = await corp.call("get_jsapi_ticket"), await corp.call("ticket/get", type="agent_config")
    assert jsapi["ticket"] != agent["ticket"]
