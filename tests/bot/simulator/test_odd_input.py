"""Whatever a service under development sends, the answer is the vendor's JSON or a sentence: never a 500."""

import json
import random
import re
from typing import Any

import pytest

from bot.simulator.api.core import ROUTES
from tests.bot.simulator.conftest import AGENTID, ANN, KF, Corp

ODD: list[Any] = [
    None,
    0,
    -1,
    2**70,
    1.5,
    True,
    "",
    "x",
    "长" * 5000,
    [],
    [1],
    [None],
    [[]],
    {},
    [{}],
    {"a": 1},
    {"content": 7},
]
SENSIBLE: dict[str, list[Any]] = {
    "open_kfid": [KF],
    "external_userid": [ANN, [ANN]],
    "external_userid_list": [[ANN]],
    "touser": [ANN, "mei"],
    "userid": ["mei", ["mei"]],
    "userids": [["mei"]],
    "userid_list": [["mei"]],
    "user": [["mei"]],
    "sender": ["mei"],
    "servicer_userid": ["mei"],
    "new_owner": ["mei"],
    "agentid": [AGENTID],
    "chat_id": ["wrgroup"],
    "chat_id_list": [["wrgroup"]],
    "msgtype": ["text", "image", "link", "msgmenu", "location", "news", "template_card", "miniprogram", "markdown"],
    "msgmenu": [{"list": [{"type": "click", "click": {"content": "好"}}]}, {"list": [{"type": []}]}],
    "template_card": [{"card_type": "button_interaction", "task_id": "t", "button_list": [{"text": "好", "key": 1}]}],
    "attachments": [[{"msgtype": "link", "link": {"title": "好", "url": "https://a.cn"}}], [{"msgtype": {}}]],
    "news": [{"articles": [{"title": "好", "url": "https://a.cn"}]}],
    "text": [{"content": "好"}],
    "tag": [[{"name": "好"}]],
    "tag_filter": [{"group_list": [{"tag_list": ["et"]}]}],
    "owner_filter": [{"userid_list": ["mei"]}],
    "member": [{"userid": "mei"}],
    "groupchat": [{"chat_id": "wrgroup"}],
    "chat_type": ["single", "group"],
    "limit": [10],
    "type": [1, 2],
    "scene": [1, 2, "s"],
    "service_state": [1, 2, 3, 4],
}
OTHER_KEYS = re.findall(
    r"\w+",
    "add_tag agentid allow_select atall button chat_type code config_id content cursor day_begin_time day_end_time "
    "department_id_list description enable_duplicate_check end_time group_id group_name id image is_temp link location "
    "markdown media_id msgid name need_enter_session_context need_name offset opengid openid order partyids party "
    "remark remark_mobiles remove_tag response_code room_base_id room_base_name skip_verify start_time state "
    "status_filter style tag_id tagids time_type token toparty totag unionid voice_format welcome_code miniprogram",
)


def body(chance: random.Random) -> dict[str, Any]:
    """Mostly sensible, partly odd, so that the odd value is reached behind the first checks."""
    chosen = {key: chance.choice(values) for key, values in SENSIBLE.items() if chance.random() < 0.85}
    keys = [*SENSIBLE, *OTHER_KEYS]
    return {**chosen, **{key: chance.choice(ODD) for key in keys if chance.random() < 0.12}}


@pytest.mark.parametrize("path", sorted(ROUTES))
async def test_no_body_breaks_a_call(corp: Corp, path: str) -> None:
    chance = random.Random(path)
    await corp.says(ANN, "在吗")
    await corp.call("getcallbackip")
    method = "GET" if ROUTES[path].methods == {"GET"} else "POST"
    for _ in range(25):
        given = body(chance)
        query = {key: str(chance.choice([*values, "长"])) for key, values in SENSIBLE.items()}
        query |= {"access_token": corp.token, "key": "x", "code": "x", "media_id": "x"}
        data = None if method == "GET" else json.dumps(given, ensure_ascii=False).encode()
        async with corp.web.request(method, path, params=query, data=data) as response:
            assert response.status == 200, given
            assert isinstance((await response.json())["errcode"], int)
        corp.simulator.options.mark_tag_seconds = 0


@pytest.mark.parametrize("data", [b'{"open_kfid": NaN}', b'{"limit": Infinity}', b'{"limit": 1e999}', b"[" * 5000])
async def test_numbers_json_does_not_know_are_refused(corp: Corp, data: bytes) -> None:
    await corp.call("getcallbackip")
    told = await corp.raw("POST", "kf/sync_msg", {"access_token": corp.token}, data)
    assert told["errcode"] in (40058, 60251)


DEEDS: dict[str, dict[str, Any]] = {
    f"phone/{ANN}/chats/{KF}/messages": {"msgtype": "text", "text": {"content": "好"}},
    f"phone/{ANN}/kf/{KF}/enter": {"scene": "s"},
    f"phone/{ANN}/add": {"userid": "qiang", "config_id": "x"},
    f"phone/{ANN}/delete": {"userid": "mei"},
    f"phone/{ANN}/join": {"chat_id": "wrgroup", "config_id": "x"},
    f"phone/{ANN}/leave": {"chat_id": "wrgroup"},
    f"phone/{ANN}/read": {"chat_id": KF},
    f"phone/{ANN}/recall": {"chat_id": KF, "seq": 1},
    f"staff/mei/kf/{KF}/{ANN}/reply": {"msgtype": "text", "text": {"content": "好"}},
    f"staff/mei/kf/{KF}/{ANN}/transfer": {"userid": "qiang"},
    f"staff/mei/kf/{KF}/{ANN}/recall": {"seq": 1},
    "staff/mei/receiving": {"open_kfid": KF, "receiving": True, "stop_type": 0},
    "staff/mei/tasks/none/send": {"except": []},
    "staff/mei/cards/1/press": {"key": "k", "selected": {"q": ["o"]}},
    "staff/mei/enter_agent": {"agentid": AGENTID},
    f"staff/mei/app/{AGENTID}/message": {"text": {"content": "好"}},
    f"staff/mei/contacts/{ANN}/edit": {"remark": "好", "add_tag": [], "remove_tag": []},
    f"staff/mei/contacts/{ANN}/message": {"text": {"content": "好"}},
    "customers": {"name": "好", "gender": 1},
    "clock": {"advance": 1},
    "faults": {"path": "*", "kind": "latency", "errcode": 1, "seconds": 0, "times": 1, "probability": 0.0},
    "callbacks": {"drop": 0.0, "retries": 1, "delay": 0},
    "limits": {"per_minute": {}, "in_flight": {}},
    "tokens": {"action": "expire", "agentid": AGENTID},
    f"apps/{AGENTID}/callback": {"url": "x", "token": "x", "aes_key": "x"},
    "tags": {"group_name": "组", "name": "好", "order": 1},
    "groups": {"name": "群", "owner": "mei", "members": [ANN]},
    "groups/wrgroup": {"name": "群", "notice": "好", "owner": "mei"},
    "groups/wrgroup/members": {"add": [ANN], "remove": [ANN]},
    "webhooks": {"name": "人", "key": "k"},
    "kf": {"name": "客服", "servicers": ["mei"]},
    f"kf/{KF}/apps": {"agentid": AGENTID, "grant": True},
}


@pytest.mark.parametrize("path", DEEDS)
async def test_no_deed_breaks_the_control_interface(corp: Corp, path: str) -> None:
    await corp.says(ANN, "在吗")
    for key in DEEDS[path]:
        for odd in [*ODD, float("nan"), float("inf")]:
            given = json.dumps({**DEEDS[path], key: odd}, ensure_ascii=False).encode()
            async with corp.web.post(f"/sim/{path}", data=given) as response:
                assert response.status < 500, (key, odd)
                told = await response.json()
            assert (response.status == 200) == ("error" not in told)
        await corp.look("staff/mei")
