"""Customer groups and 企业群发 over HTTP: versions and lag, join ways, tasks that people confirm, caps and results."""

from typing import Any

import pytest

from tests.bot.simulator.conftest import ANN, BOB, Corp

DAY = 86_400
TEXT = {"text": {"content": "周四八点秒杀"}}


async def group(corp: Corp, chat_id: str = "wrgroup", **more: Any) -> dict[str, Any]:
    told = await corp.call("externalcontact/groupchat/get", {"chat_id": chat_id, "need_name": 1, **more})
    shown: dict[str, Any] = told["group_chat"]
    return shown


# groups


async def test_joining_and_leaving_are_told_with_versions_that_match(corp: Corp) -> None:
    person = (await corp.do("customers", name="新来的"))["external_userid"]
    await corp.do(f"phone/{person}/join", chat_id="wrgroup")
    await corp.do(f"phone/{person}/leave", chat_id="wrgroup")
    joined, left = await corp.settled()
    assert (joined["UpdateDetail"], joined["JoinScene"], joined["MemChangeCnt"]) == ("add_member", "3", "1")
    assert joined["MemChangeList"] == {"Item": person}
    assert (left["UpdateDetail"], left["QuitScene"]) == ("del_member", "0")
    assert left["LastMemVer"] == joined["CurMemVer"] != joined["LastMemVer"]
    assert (await group(corp))["member_version"] == left["CurMemVer"]


async def test_groupchat_get_may_lag_behind_the_event(corp: Corp) -> None:
    corp.world.groups.lag_seconds = 5
    before = await group(corp)
    await corp.do("groups/wrgroup/members", remove=[BOB])
    [event] = await corp.settled()
    assert await group(corp) == before
    corp.after(5)
    now = await group(corp)
    assert now["member_version"] == event["CurMemVer"]
    assert BOB not in [member["userid"] for member in now["member_list"]]


async def test_a_group_shows_who_is_in_it_and_how_they_came(corp: Corp) -> None:
    way = {"scene": 2, "chat_id_list": ["wrgroup"], "state": "poster", "remark": "长" * 40}
    config_id = (await corp.call("externalcontact/groupchat/add_join_way", way))["config_id"]
    person = (await corp.do("customers", name="新来的"))["external_userid"]
    await corp.do(f"phone/{person}/join", config_id=config_id)
    members = {member["userid"]: member for member in (await group(corp))["member_list"]}
    assert (members["mei"]["type"], members[ANN]["type"], members[ANN]["invitor"]) == (1, 2, {"userid": "mei"})
    assert (members[person]["join_scene"], members[person]["state"]) == (3, "poster")
    assert members[person]["name"] == "新来的"
    assert "name" not in (await group(corp, need_name=0))["member_list"][0]
    shown = (await corp.call("externalcontact/groupchat/get_join_way", {"config_id": config_id}))["join_way"]
    assert (shown["remark"], "/sim/qr/" in shown["qr_code"]) == ("长" * 30, True)


async def test_a_full_group_overflows_into_a_new_one(corp: Corp) -> None:
    crowd = [corp.world.add_customer(f"客户{number}").external_userid for number in range(497)]
    corp.world.groups.add_members("wrgroup", crowd)
    way = {"scene": 2, "chat_id_list": ["wrgroup"], "room_base_name": "福利群", "room_base_id": 2}
    config_id = (await corp.call("externalcontact/groupchat/add_join_way", way))["config_id"]
    late = (await corp.do("customers", name="晚到"))["external_userid"]
    new = (await corp.do(f"phone/{late}/join", config_id=config_id))["chat_id"]
    assert ((await group(corp, new))["name"], (await group(corp, new))["owner"]) == ("福利群2", "mei")
    assert "满员" in (await corp.do(f"phone/{late}/join", chat_id="wrgroup"))["error"]


async def test_other_changes_by_hand_are_told_too(corp: Corp) -> None:
    made = (await corp.do("groups", name="新群", owner="qiang"))["chat_id"]
    await corp.do(f"groups/{made}", name="新群名", notice="欢迎", owner="mei")
    await corp.do(f"groups/{made}/dismiss")
    told = [event.get("UpdateDetail") or event["ChangeType"] for event in await corp.settled()]
    assert told == ["create", "change_name", "change_notice", "change_owner", "dismiss"]
    assert (await corp.call("externalcontact/groupchat/get", {"chat_id": made}))["errcode"] == 90501


async def test_what_is_said_in_a_group_stays_in_the_group(corp: Corp) -> None:
    await corp.says(ANN, "抢 A1 x2", "wrgroup")
    assert await corp.settled() == []
    assert await corp.seen(BOB, "wrgroup") == ["抢 A1 x2"]
    assert "抢 A1" not in str((await corp.look("log"))["calls"])


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ({"limit": 10}, ["wrgroup"]),
        ({"limit": 10, "owner_filter": {"userid_list": ["qiang"]}}, []),
        ({"limit": 10, "status_filter": 1}, []),
        ({}, 40058),
        ({"limit": 1001}, 40058),
        ({"limit": 10, "owner_filter": {"userid_list": ["ghost"]}}, 60111),
    ],
)
async def test_groups_are_listed(corp: Corp, body: dict[str, Any], answer: Any) -> None:
    told = await corp.call("externalcontact/groupchat/list", body)
    assert (told["errcode"] or [each["chat_id"] for each in told["group_chat_list"]]) == answer


async def test_a_long_list_needs_an_owner_or_pages(corp: Corp) -> None:
    for number in range(1000):
        corp.world.add_group(f"群{number}", "qiang")
    assert (await corp.call("externalcontact/groupchat/list", {"limit": 1000}))["errcode"] == 81017
    owned = {"limit": 600, "owner_filter": {"userid_list": ["qiang"]}}
    first = await corp.call("externalcontact/groupchat/list", owned)
    rest = await corp.call("externalcontact/groupchat/list", {**owned, "cursor": first["next_cursor"]})
    assert (len(first["group_chat_list"]), len(rest["group_chat_list"]), "next_cursor" in rest) == (600, 400, False)


@pytest.mark.parametrize(
    ("change", "errcode"),
    [
        ({"chat_id_list": ["wrgroup"] * 6}, 41091),
        ({"chat_id_list": ["wrnone"]}, 90501),
        ({"scene": 9}, 41040),
        ({"room_base_name": "长" * 14}, 40058),
        ({"state": "s" * 31}, 40058),
    ],
)
async def test_join_ways_are_checked(corp: Corp, change: dict[str, Any], errcode: int) -> None:
    way = {"scene": 2, "chat_id_list": ["wrgroup"], **change}
    assert (await corp.call("externalcontact/groupchat/add_join_way", way))["errcode"] == errcode


async def test_groups_are_counted_and_handed_over(corp: Corp) -> None:
    now = int(corp.world.corp.now())
    by_day = {"day_begin_time": now, "owner_filter": {"userid_list": ["mei"]}}
    [day] = (await corp.call("externalcontact/groupchat/statistic_group_by_day", by_day))["items"]
    assert (day["data"]["chat_total"], day["data"]["member_total"]) == (1, 3)
    move = {"chat_id_list": ["wrgroup", "wrnone"], "new_owner": "qiang"}
    [failed] = (await corp.call("externalcontact/groupchat/onjob_transfer", move))["failed_chat_list"]
    assert (failed["chat_id"], failed["errcode"]) == ("wrnone", 90501)
    [owner] = (await corp.call("externalcontact/groupchat/statistic", {"day_begin_time": now}))["items"]
    assert owner["owner"] == "qiang"


# tasks


async def create(corp: Corp, **body: Any) -> dict[str, Any]:
    told = await corp.call("externalcontact/add_msg_template", {**TEXT, **body})
    corp.after(1)
    return told


async def results(corp: Corp, msgid: str) -> dict[str, int]:
    told = await corp.call("externalcontact/get_groupmsg_send_result", {"msgid": msgid, "userid": "mei"})
    return {each.get("external_userid") or each["chat_id"]: each["status"] for each in told["send_list"]}


async def test_a_mass_message_reaches_nobody_before_the_member_confirms(corp: Corp) -> None:
    link = {"msgtype": "link", "link": {"title": "去看看", "url": "https://shop.example/s"}}
    told = await create(corp, external_userid=[ANN, BOB, "wmghost"], sender="mei", attachments=[link])
    assert told["fail_list"] == ["wmghost"]
    assert (await results(corp, told["msgid"]), await corp.seen(ANN, "mei")) == ({ANN: 0, BOB: 0}, [])
    [task] = (await corp.look("staff/mei"))["tasks"]
    assert (task["status"], task["targets"], task["text"]) == (0, 2, "周四八点秒杀")
    await corp.do(f"phone/{BOB}/delete", userid="mei")
    sent = await corp.do(f"staff/mei/tasks/{told['msgid']}/send")
    assert sent == {"sent": 1, "failed": [{"id": BOB, "status": 2}]}
    assert await results(corp, told["msgid"]) == {ANN: 1, BOB: 2}
    assert await corp.seen(ANN, "mei") == ["周四八点秒杀", "link"]
    [share] = (await corp.call("externalcontact/get_groupmsg_task", {"msgid": told["msgid"]}))["task_list"]
    assert (share["userid"], share["status"], share["send_time"] > 0) == ("mei", 2, True)
    assert "error" in await corp.do(f"staff/mei/tasks/{told['msgid']}/send")


async def test_a_group_message_lists_only_the_groups_it_reached(corp: Corp) -> None:
    corp.world.add_group("第二个群", "mei", chat_id="wrsecond")
    told = await create(corp, chat_type="group", sender="mei", chat_id_list=["wrgroup", "wrsecond", "wrnone"])
    assert told["fail_list"] == ["wrnone"]
    assert await results(corp, told["msgid"]) == {}
    await corp.do("groups/wrsecond/dismiss")
    await corp.do(f"staff/mei/tasks/{told['msgid']}/send")
    assert await results(corp, told["msgid"]) == {"wrgroup": 1}
    assert await corp.seen(ANN, "wrgroup") == ["周四八点秒杀"]


@pytest.mark.parametrize(
    ("body", "errcode"),
    [
        ({"external_userid": ["wmghost"], "sender": "mei"}, 41048),
        ({"external_userid": [ANN], "sender": "qiang"}, 41048),
        ({"external_userid": [ANN], "sender": "ghost"}, 60111),
        ({"external_userid": ANN}, 40035),
        ({"external_userid": ["wm"] * 10_001}, 40035),
        ({}, 40063),
        ({"chat_type": "group"}, 40063),
        ({"chat_type": "shout"}, 40058),
        ({"sender": "mei", "text": {"content": ""}}, 40063),
        ({"sender": "mei", "text": {"content": "长" * 1334}}, 40058),
        ({"sender": "mei", "tag_filter": {"group_list": [{"tag_list": ["etnone"]}]}}, 40068),
        ({"sender": "mei"}, 0),
    ],
    ids=lambda value: str(value)[:50],
)
async def test_mass_messages_are_checked(corp: Corp, body: dict[str, Any], errcode: int) -> None:
    told = await create(corp, **body)
    assert (told["errcode"], bool(told["msgid"])) == (errcode, errcode == 0)


async def test_without_a_sender_each_customer_goes_to_who_talked_last(corp: Corp) -> None:
    corp.world.add_contact("qiang", ANN)
    await corp.says(ANN, "你好", "qiang")
    told = await create(corp, external_userid=[ANN, BOB])
    tasks = (await corp.call("externalcontact/get_groupmsg_task", {"msgid": told["msgid"]}))["task_list"]
    assert sorted(each["userid"] for each in tasks) == ["mei", "qiang"]
    assert (await results(corp, told["msgid"])) == {BOB: 0}


async def test_tags_filter_or_inside_a_group_and_across(corp: Corp) -> None:
    tags = corp.world.tags
    _, levels = tags.add("", "等级", [("金", 0), ("银", 0)], by=None)
    _, stages = tags.add("", "阶段", [("活跃", 0)], by=None)
    gold, silver, active = (each.id for each in (*levels, *stages))
    corp.world.contacts.find("mei", ANN).tags.update({silver: None, active: None})
    corp.world.contacts.find("mei", BOB).tags.update({gold: None})
    wanted = {"group_list": [{"tag_list": [gold, silver]}, {"tag_list": [active]}]}
    told = await create(corp, sender="mei", tag_filter=wanted)
    assert await results(corp, told["msgid"]) == {ANN: 0}


async def test_right_after_creation_and_after_cancelling_there_are_no_answers(corp: Corp) -> None:
    told = await corp.call("externalcontact/add_msg_template", {**TEXT, "sender": "mei"})
    ask = {"msgid": told["msgid"], "userid": "mei"}
    assert (await corp.call("externalcontact/get_groupmsg_task", ask))["errcode"] == 41063
    corp.after(1)
    assert (await corp.call("externalcontact/cancel_groupmsg_send", ask))["errcode"] == 0
    for path in ("get_groupmsg_task", "get_groupmsg_send_result", "cancel_groupmsg_send", "remind_groupmsg_send"):
        assert (await corp.call(f"externalcontact/{path}", ask))["errcode"] == 41093
    assert (await corp.look("staff/mei"))["tasks"][0]["status"] == "cancelled"
    assert "取消" in (await corp.do(f"staff/mei/tasks/{told['msgid']}/send"))["error"]
    assert (await corp.call("externalcontact/get_groupmsg_task", {}))["errcode"] == 41046
    assert (await corp.call("externalcontact/get_groupmsg_task", {"msgid": "made-up"}))["errcode"] == 41047


async def test_three_reminders_a_day(corp: Corp) -> None:
    ask = {"msgid": (await create(corp, sender="mei"))["msgid"]}
    codes = [(await corp.call("externalcontact/remind_groupmsg_send", ask))["errcode"] for _ in range(4)]
    corp.after(DAY)
    assert [*codes, (await corp.call("externalcontact/remind_groupmsg_send", ask))["errcode"]] == [0, 0, 0, 41094, 0]
    assert (await corp.look("staff/mei"))["tasks"][0]["reminders"] == 4


async def send_to_ann(corp: Corp) -> int:
    told = await create(corp, sender="mei", external_userid=[ANN])
    await corp.do(f"staff/mei/tasks/{told['msgid']}/send")
    return (await results(corp, told["msgid"]))[ANN]


async def test_a_customer_gets_as_many_a_month_as_the_month_has_days(corp: Corp) -> None:
    corp.after(23 * DAY)  # 1 April in Shanghai: 30 days
    assert [await send_to_ann(corp) for _ in range(31)] == [1] * 30 + [3]
    corp.after(30 * DAY)
    assert await send_to_ann(corp) == 1


async def test_tighter_caps_can_be_set_and_count_groups_too(corp: Corp) -> None:
    corp.world.tasks.daily_cap = 1
    assert [await send_to_ann(corp), await send_to_ann(corp)] == [1, 3]
    corp.after(DAY)
    assert await send_to_ann(corp) == 1
    for status in ({"wrgroup": 1}, {}):
        told = await create(corp, chat_type="group", sender="mei")
        await corp.do(f"staff/mei/tasks/{told['msgid']}/send")
        assert await results(corp, told["msgid"]) == status


async def test_a_member_may_leave_people_out_only_when_allowed(corp: Corp) -> None:
    fixed, free = await create(corp, sender="mei"), await create(corp, sender="mei", allow_select=True)
    assert "error" in await corp.do(f"staff/mei/tasks/{fixed['msgid']}/send", **{"except": [ANN]})
    await corp.do(f"staff/mei/tasks/{free['msgid']}/send", **{"except": [ANN]})
    assert await results(corp, free["msgid"]) == {ANN: 0, BOB: 1}


async def test_tasks_are_listed_by_kind_and_time(corp: Corp) -> None:
    now = int(corp.world.corp.now())
    told = await create(corp, sender="mei")
    await create(corp, sender="mei", chat_type="group")
    span = {"chat_type": "single", "start_time": now - 10, "end_time": now + 10}
    [listed] = (await corp.call("externalcontact/get_groupmsg_list_v2", span))["group_msg_list"]
    assert (listed["msgid"], listed["creator"], listed["text"]) == (told["msgid"], "mei", TEXT["text"])
    too_long = {**span, "end_time": now + 40 * DAY}
    assert (await corp.call("externalcontact/get_groupmsg_list_v2", too_long))["errcode"] == 40058


async def test_long_results_come_in_pages(corp: Corp) -> None:
    ask = {"msgid": (await create(corp, sender="mei"))["msgid"], "userid": "mei", "limit": 1}
    first = await corp.call("externalcontact/get_groupmsg_send_result", ask)
    last = await corp.call("externalcontact/get_groupmsg_send_result", {**ask, "cursor": first["next_cursor"]})
    assert [page["send_list"][0]["external_userid"] for page in (first, last)] == [ANN, BOB]
    assert last["next_cursor"] == ""
