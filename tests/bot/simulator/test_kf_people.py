"""微信客服 over HTTP: what servicers do, and accounts, links, customers and upgrade cards."""

from typing import Any

import pytest

from bot.simulator.kf import State
from tests.bot.simulator.conftest import AGENTID, ANN, BOB, KF, Corp
from tests.bot.simulator.test_kf import HOUR, WHO, enter, put_in, state

# servicers


async def test_a_servicer_accepts_transfers_replies_and_ends(corp: Corp) -> None:
    await put_in(corp, State.QUEUE)
    assert [each["name"] for each in (await corp.look("staff/mei"))["sessions"]] == ["安安"]
    await corp.do(f"staff/mei/kf/{KF}/{ANN}/accept")
    await corp.do(f"staff/mei/kf/{KF}/{ANN}/transfer", userid="qiang")
    await corp.do(f"staff/qiang/kf/{KF}/{ANN}/reply", msgtype="text", text={"content": "我来帮您"})
    await corp.do(f"staff/qiang/kf/{KF}/{ANN}/end")
    items = (await corp.pull())["msg_list"]
    changes = [each["event"] for each in items if each["msgtype"] == "event"]
    assert [each["change_type"] for each in changes] == [1, 2, 3]
    assert ["msg_code" in each for each in changes] == [True, False, True]
    [reply] = [each for each in items if each["origin"] == 5]
    assert (reply["servicer_userid"], reply["text"]["content"]) == ("qiang", "我来帮您")
    assert "我来帮您" in await corp.seen(ANN)


async def test_a_servicer_who_writes_into_an_ended_session_opens_it(corp: Corp) -> None:
    await put_in(corp, State.ENDED)
    await corp.do(f"staff/mei/kf/{KF}/{ANN}/reply", msgtype="text", text={"content": "回访一下"})
    assert await state(corp) == {"service_state": 3, "servicer_userid": "mei"}
    assert (await corp.kf_events())[-1]["change_type"] == 4


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (f"staff/Lin/kf/{KF}/{ANN}/accept", {}),
        (f"staff/mei/kf/{KF}/{ANN}/accept", {}),
        (f"staff/mei/kf/{KF}/{ANN}/end", {}),
        (f"staff/mei/kf/{KF}/{ANN}/reply", {"text": {"content": "抢答"}}),
        (f"staff/mei/kf/{KF}/wmnobody/end", {}),
        ("staff/mei/receiving", {"open_kfid": "wknone", "receiving": True}),
        (f"phone/{ANN}/chats/{KF}/messages", {"text": {"content": "  "}}),
        (f"phone/{ANN}/chats/wknone/messages", {"text": {"content": "在吗"}}),
    ],
)
async def test_what_a_person_cannot_do_is_refused_in_chinese(corp: Corp, path: str, body: dict[str, Any]) -> None:
    await put_in(corp, State.BOT)
    error = (await corp.do(path, **body))["error"]
    assert any("\u4e00" <= letter <= "\u9fff" for letter in error)


async def test_recalls_and_switches_come_back_as_events(corp: Corp) -> None:
    said = await corp.says(ANN, "说错了")
    await corp.do(f"phone/{ANN}/recall", chat_id=KF, seq=said["seq"])
    await corp.do("staff/mei/receiving", open_kfid=KF, receiving=False)
    await corp.do(f"staff/mei/kf/{KF}/{ANN}/reject", rejected=True)
    await corp.says(ANN, "有人吗")
    recall, status, reject = await corp.kf_events()
    assert recall["recall_msgid"] == said["msgid"]
    assert (status["event_type"], status["status"]) == ("servicer_status_change", 2)
    assert (reject["event_type"], reject["reject_switch"]) == ("reject_customer_msg_switch_change", 1)
    assert (await corp.look(f"phone/{ANN}/chats/{KF}/messages"))["messages"][0]["recalled"]


async def test_servicers_are_added_listed_and_removed_by_api(corp: Corp) -> None:
    added = await corp.call("kf/servicer/add", {"open_kfid": KF, "userid_list": ["lin", "mei", "ghost"]})
    assert [(each["errcode"], each["errmsg"][:7]) for each in added["result_list"]] == [
        (0, "success"),
        (0, "ignored"),
        (60111, "userid "),
    ]
    await corp.call("kf/servicer/del", {"open_kfid": KF, "userid_list": ["qiang"]})
    await corp.do("staff/mei/receiving", open_kfid=KF, receiving=False, stop_type=1)
    listed = await corp.call("kf/servicer/list", open_kfid=KF)
    assert listed["servicer_list"] == [{"userid": "mei", "status": 1, "stop_type": 1}, {"userid": "Lin", "status": 0}]


# accounts and customers


async def test_accounts_are_kept_by_api_and_granted_by_the_console(corp: Corp) -> None:
    media_id = await corp.upload()
    made = await corp.call("kf/account/add", {"name": "售后客服", "media_id": media_id})
    assert (await corp.call("kf/account/add", {"name": "长" * 17, "media_id": media_id}))["errcode"] == 95006
    names = [each["name"] for each in (await corp.call("kf/account/list", {"offset": 0, "limit": 100}))["account_list"]]
    assert names == ["小店客服", "售后客服"]
    await corp.do(f"kf/{made['open_kfid']}/apps", agentid=AGENTID, grant=False)
    assert (await corp.call("kf/account/del", {"open_kfid": made["open_kfid"]}))["errcode"] == 48007
    assert (await corp.settled())[-1]["AuthDelOpenKfId"] == made["open_kfid"]
    await corp.do(f"kf/{made['open_kfid']}/apps", agentid=AGENTID)
    assert (await corp.call("kf/account/del", {"open_kfid": made["open_kfid"]}))["errcode"] == 0
    assert (await corp.call("kf/account/update", {"open_kfid": made["open_kfid"], "name": "x"}))["errcode"] == 95004


async def test_a_link_carries_its_scene_into_the_chat(corp: Corp) -> None:
    link = (await corp.call("kf/add_contact_way", {"open_kfid": KF, "scene": "poster"}))["url"]
    path = link[link.index("/kf/") :]
    async with corp.web.get(f"/sim/phone/{ANN}/open", params={"url": f"{path}&scene_param=p1"}, allow_redirects=False):
        pass
    corp.web.session.cookie_jar.update_cookies({"wecom_simulator_visitor": f"customer:{ANN}"})
    async with corp.web.get(f"{path}&scene_param=p1", allow_redirects=False) as response:
        assert response.headers["Location"] == f"/phone?as={ANN}&chat={KF}"
    event = (await corp.kf_events())[-1]
    assert (event["scene"], event["scene_param"]) == ("poster", "p1")


async def test_customers_are_told_about_only_within_48_hours(corp: Corp) -> None:
    await enter(corp, scene="poster")
    body = {"external_userid_list": [ANN, BOB], "need_enter_session_context": 1}
    told = await corp.call("kf/customer/batchget", body)
    assert told["invalid_external_userid"] == [BOB]
    [found] = told["customer_list"]
    assert (found["nickname"], found["enter_session_context"]["scene"]) == ("安安", "poster")
    corp.after(48 * HOUR + 1)
    assert (await corp.call("kf/customer/batchget", body))["invalid_external_userid"] == [ANN, BOB]


async def test_upgrading_shows_a_card_to_who_is_in_a_session(corp: Corp) -> None:
    member = {**WHO, "type": 1, "member": {"userid": "mei", "wording": "加我好友"}}
    group = {**WHO, "type": 2, "groupchat": {"chat_id": "wrgroup", "wording": "进群"}}
    assert (await corp.call("kf/customer/upgrade_service", member))["errcode"] == 95031
    await enter(corp)
    assert (await corp.call("kf/customer/upgrade_service", member))["errcode"] == 95013
    await corp.says(ANN, "怎么进群")
    assert (await corp.call("kf/customer/upgrade_service", member))["errcode"] == 0
    assert (await corp.call("kf/customer/upgrade_service", group))["errcode"] == 0
    card = (await corp.look(f"phone/{ANN}/chats/{KF}/messages"))["messages"][-1]
    assert card["business_card"] == {"chat_id": "wrgroup", "title": "会员福利群", "wording": "进群"}


async def test_a_tapped_menu_line_comes_with_its_id(corp: Corp) -> None:
    await corp.do(f"phone/{ANN}/chats/{KF}/messages", msgtype="text", text={"content": "退货", "menu_id": "faq-7"})
    [item] = (await corp.pull())["msg_list"]
    assert item["text"] == {"content": "退货", "menu_id": "faq-7"}
