"""客户联系 over HTTP: relations and their events, shapes of get and batch, tags, welcome, contact ways."""

import asyncio
from typing import Any

import pytest

from tests.bot.simulator.conftest import ANN, BOB, Corp

PAIR = {"userid": "mei", "external_userid": ANN}


async def changes(corp: Corp) -> list[str]:
    return [event["ChangeType"] for event in await corp.settled()]


async def add_tag(corp: Corp, name: str, group: str = "会员等级") -> str:
    told = await corp.call("externalcontact/add_corp_tag", {"group_name": group, "tag": [{"name": name}]})
    tag_id: str = told["tag_group"]["tag"][0]["id"]
    return tag_id


# relations


async def test_adding_a_member_tells_who_with_which_state_and_code(corp: Corp) -> None:
    way = {"type": 2, "scene": 2, "user": ["qiang"], "state": "poster-1"}
    config_id = (await corp.call("externalcontact/add_contact_way", way))["config_id"]
    await corp.do(f"phone/{ANN}/add", config_id=config_id)
    [event] = await corp.settled()
    assert (event["ChangeType"], event["UserID"], event["ExternalUserID"]) == ("add_external_contact", "qiang", ANN)
    assert (event["State"], event["FromUserName"], event["envelope_agentid"]) == ("poster-1", "sys", "")
    assert event["WelcomeCode"]


async def test_no_welcome_code_comes_when_the_console_has_a_welcome(corp: Corp) -> None:
    await corp.do("staff/qiang/console_welcome", on=True)
    await corp.do(f"phone/{ANN}/add", userid="qiang")
    [event] = await corp.settled()
    assert "WelcomeCode" not in event
    assert "State" not in event


async def test_a_way_with_verification_waits_for_the_member(corp: Corp) -> None:
    way = {"type": 1, "scene": 2, "user": ["qiang"], "skip_verify": False}
    config_id = (await corp.call("externalcontact/add_contact_way", way))["config_id"]
    await corp.do(f"phone/{ANN}/add", config_id=config_id)
    assert "error" in await corp.says(ANN, "你好", "qiang")
    await corp.do(f"staff/qiang/contacts/{ANN}/accept")
    assert await changes(corp) == ["add_half_external_contact", "add_external_contact"]
    assert "error" not in await corp.says(ANN, "你好", "qiang")


async def test_after_the_customer_left_calls_still_work(corp: Corp) -> None:
    await corp.do(f"phone/{ANN}/delete", userid="mei")
    assert await changes(corp) == ["del_follow_user"]
    assert (await corp.call("externalcontact/remark", {**PAIR, "remark": "走了"}))["errcode"] == 0
    assert ANN in (await corp.call("externalcontact/list", userid="mei"))["external_userid"]
    assert "error" in await corp.do(f"staff/mei/contacts/{ANN}/message", text={"content": "还在吗"})
    await corp.do(f"phone/{ANN}/add", userid="mei")
    assert await changes(corp) == ["del_follow_user", "add_external_contact"]


async def test_after_the_member_deleted_the_customer_it_is_84061(corp: Corp) -> None:
    await corp.do(f"staff/mei/contacts/{ANN}/delete")
    assert await changes(corp) == ["del_external_contact"]
    assert (await corp.call("externalcontact/remark", {**PAIR, "remark": "没了"}))["errcode"] == 84061
    assert (await corp.call("externalcontact/get", external_userid=ANN))["errcode"] == 84061
    assert (await corp.call("externalcontact/list", userid="mei"))["external_userid"] == [BOB]


async def test_the_clients_own_edits_come_back_but_the_apis_do_not(corp: Corp) -> None:
    tag_id = await add_tag(corp, "金卡")
    await corp.call("externalcontact/mark_tag", {**PAIR, "add_tag": [tag_id]})
    await corp.call("externalcontact/remark", {**PAIR, "remark": "安姐"})
    assert await changes(corp) == []
    await corp.do(f"staff/mei/contacts/{ANN}/edit", remark="安安姐", remove_tag=[tag_id])
    assert await changes(corp) == ["edit_external_contact"]
    [shown] = [each for each in (await corp.look("staff/mei"))["contacts"] if each["external_userid"] == ANN]
    assert (shown["remark"], shown["tags"]) == ("安安姐", [])


@pytest.mark.parametrize(
    ("path", "query", "errcode"),
    [
        ("list", {"userid": ""}, 40003),
        ("list", {"userid": "ghost"}, 60111),
        ("list", {"userid": "Lin"}, 84061),
        ("list", {"userid": "qiang"}, 60011),
        ("get", {}, 41035),
        ("get", {"external_userid": "wmother"}, 40096),
        ("get", {"external_userid": BOB}, 40096),
    ],
)
async def test_reading_contacts_refuses(corp: Corp, path: str, query: dict[str, str], errcode: int) -> None:
    corp.world.add_contact("qiang", BOB)
    corp.world.contacts.drop("mei", BOB)
    next(iter(corp.world.corp.apps.values())).visible = {"mei", "Lin"}
    told = await corp.call(f"externalcontact/{path}", **query)
    assert told["errcode"] == errcode
    assert told.get("external_userid", []) == []


async def test_members_with_the_feature_are_those_in_range(corp: Corp) -> None:
    corp.world.corp.get_staff("Lin").can_add_customers = False
    assert (await corp.call("externalcontact/get_follow_user_list"))["follow_user"] == ["mei", "qiang"]


async def test_get_and_batch_have_different_shapes(corp: Corp) -> None:
    tag_id = await add_tag(corp, "金卡")
    await corp.call("externalcontact/mark_tag", {**PAIR, "add_tag": [tag_id]})
    one = await corp.call("externalcontact/get", external_userid=ANN)
    [follow] = one["follow_user"]
    assert (follow["userid"], follow["tags"]) == (
        "mei",
        [{"group_name": "会员等级", "tag_name": "金卡", "tag_id": tag_id, "type": 1}],
    )
    assert (one["external_contact"]["name"], one["external_contact"]["type"]) == ("安安", 1)
    assert "next_cursor" not in one
    batch = await corp.call("externalcontact/batch/get_by_user", {"userid_list": ["mei"], "limit": 1})
    [row] = batch["external_contact_list"]
    assert (row["follow_info"]["tag_id"], "tags" in row["follow_info"]) == ([tag_id], False)
    rest = {"userid_list": ["mei"], "limit": 1, "cursor": batch["next_cursor"]}
    last = await corp.call("externalcontact/batch/get_by_user", rest)
    assert (last["external_contact_list"][0]["external_contact"]["name"], last["next_cursor"]) == ("波波", "")


@pytest.mark.parametrize(
    ("fields", "errcode"),
    [
        ({"remark": "安姐"}, 0),
        ({"remark_mobiles": [""]}, 0),
        ({}, 40063),
        ({"remark": "长" * 21}, 40058),
        ({"description": "长" * 151}, 40058),
        ({"remark": "x", "userid": "qiang"}, 84061),
        ({"remark": "x", "userid": "MEI"}, 0),
    ],
)
async def test_remarks_are_checked(corp: Corp, fields: dict[str, Any], errcode: int) -> None:
    assert (await corp.call("externalcontact/remark", {**PAIR, **fields}))["errcode"] == errcode


# welcome


async def welcome_code(corp: Corp) -> str:
    await corp.do(f"phone/{ANN}/add", userid="qiang")
    code: str = (await corp.settled())[-1]["WelcomeCode"]
    return code


async def welcome(corp: Corp, code: str | None, **body: Any) -> int:
    given = {"text": {"content": "欢迎你"}, **body} if "text" not in body else body
    told = await corp.call("externalcontact/send_welcome_msg", {"welcome_code": code, **given})
    return int(told["errcode"])


async def test_a_welcome_is_sent_once_within_20_seconds(corp: Corp) -> None:
    code = await welcome_code(corp)
    corp.after(20)
    link = {"msgtype": "link", "link": {"title": "新人券", "url": "https://shop.example/c"}}
    assert [await welcome(corp, code, attachments=[link]) for _ in range(2)] == [0, 41050]
    assert (await corp.seen(ANN, "qiang"))[-2:] == ["欢迎你", "link"]


async def test_a_late_welcome_is_41050(corp: Corp) -> None:
    code = await welcome_code(corp)
    corp.after(20.5)
    assert await welcome(corp, code) == 41050


async def test_once_they_talked_or_another_app_was_first_it_is_41051(corp: Corp) -> None:
    code = await welcome_code(corp)
    corp.world.register_app(7, "另一个应用", "other")
    token = (await corp.raw("GET", "gettoken", {"corpid": corp.world.corp.corpid, "corpsecret": "other"}))[
        "access_token"
    ]
    mine, corp.token = corp.token, token
    assert await welcome(corp, code) == 0
    corp.token = mine
    assert await welcome(corp, code) == 41051
    await corp.do(f"phone/{BOB}/add", userid="qiang")
    await corp.says(BOB, "你好", "qiang")
    assert await welcome(corp, (await corp.settled())[-1]["WelcomeCode"]) == 41051


@pytest.mark.parametrize(
    ("body", "errcode"),
    [
        ({"text": {"content": ""}}, 40063),
        ({"text": {"content": "长" * 1334}}, 40058),
        ({"attachments": [{"msgtype": "image", "image": {"pic_url": "https://a.cn/1.png"}}] * 10}, 41064),
        ({"attachments": [{"msgtype": "hologram"}]}, 41065),
        ({"attachments": [{"msgtype": "image", "image": {"media_id": "old"}}]}, 40007),
        ({"attachments": [{"msgtype": "link", "link": {"title": "x", "url": "ftp://a"}}]}, 45034),
        ({"attachments": [{"msgtype": "link", "link": {"title": "长" * 43, "url": "https://a.cn"}}]}, 40058),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_welcome_is_checked_before_its_code_is_used(corp: Corp, body: dict[str, Any], errcode: int) -> None:
    code = await welcome_code(corp)
    assert await welcome(corp, code, **body) == errcode
    assert await welcome(corp, code) == 0


async def test_kf_codes_and_no_codes_are_not_welcome_codes(corp: Corp) -> None:
    assert (await welcome(corp, None), await welcome(corp, "made-up")) == (41049, 41050)


# tags


async def test_marking_is_per_member_and_customer_and_idempotent(corp: Corp) -> None:
    corp.world.add_contact("qiang", ANN)
    gold, silver = await add_tag(corp, "金卡"), await add_tag(corp, "银卡")
    for _ in range(2):
        assert (await corp.call("externalcontact/mark_tag", {**PAIR, "add_tag": [gold, silver]}))["errcode"] == 0
    await corp.call("externalcontact/mark_tag", {**PAIR, "remove_tag": [silver]})
    follows = (await corp.call("externalcontact/get", external_userid=ANN))["follow_user"]
    assert {each["userid"]: [tag["tag_name"] for tag in each["tags"]] for each in follows} == {
        "mei": ["金卡"],
        "qiang": [],
    }


@pytest.mark.parametrize(
    ("body", "errcode"),
    [
        ({"add_tag": ["etnone"]}, 40068),
        ({}, 40063),
        ({"add_tag": "etnone"}, 40035),
        ({"add_tag": ["x"], "external_userid": "wmother"}, 40096),
        ({"add_tag": ["x"], "userid": "qiang"}, 84061),
        ({"add_tag": ["x"], "userid": "ghost"}, 60111),
    ],
)
async def test_marking_refuses(corp: Corp, body: dict[str, Any], errcode: int) -> None:
    assert (await corp.call("externalcontact/mark_tag", {**PAIR, **body}))["errcode"] == errcode


async def test_two_marks_on_one_customer_at_once_conflict(corp: Corp) -> None:
    tag_id = await add_tag(corp, "金卡")
    mark = {**PAIR, "add_tag": [tag_id]}
    other = {**mark, "external_userid": BOB}
    told = await asyncio.gather(*[corp.call("externalcontact/mark_tag", body) for body in (mark, mark, other)])
    assert sorted(each["errcode"] for each in told) == [0, 0, 45035]


async def test_tags_are_added_to_a_group_by_name_or_id(corp: Corp) -> None:
    await add_tag(corp, "金卡")
    again = {"group_name": "会员等级", "tag": [{"name": "银卡", "order": 5}]}
    told = (await corp.call("externalcontact/add_corp_tag", again))["tag_group"]
    assert [tag["name"] for tag in told["tag"]] == ["银卡"]
    [group] = (await corp.call("externalcontact/get_corp_tag_list", {}))["tag_group"]
    assert [tag["name"] for tag in group["tag"]] == ["银卡", "金卡"]
    assert "deleted" not in group
    by_id = {"tag_id": ["etignored"], "group_id": [group["group_id"]]}
    [asked] = (await corp.call("externalcontact/get_corp_tag_list", by_id))["tag_group"]
    assert (len(asked["tag"]), asked["deleted"]) == (2, False)


@pytest.mark.parametrize(
    ("body", "errcode"),
    [
        ({"group_name": "会员等级", "tag": [{"name": "金卡"}]}, 40071),
        ({"group_name": "新", "tag": [{"name": "一"}, {"name": "一"}]}, 40071),
        ({"group_name": "新", "tag": [{"name": "长" * 31}]}, 40072),
        ({"group_name": "新", "tag": []}, 40058),
        ({"group_id": "etnone", "tag": [{"name": "x"}]}, 40068),
        ({"tag": [{"name": "x"}]}, 40058),
    ],
)
async def test_adding_tags_refuses_and_adds_none(corp: Corp, body: dict[str, Any], errcode: int) -> None:
    await add_tag(corp, "金卡")
    assert (await corp.call("externalcontact/add_corp_tag", body))["errcode"] == errcode
    [group] = (await corp.call("externalcontact/get_corp_tag_list", {}))["tag_group"]
    assert len(group["tag"]) == 1


async def test_deleting_the_last_tag_deletes_the_group_and_the_marks(corp: Corp) -> None:
    tag_id = await add_tag(corp, "金卡")
    await corp.call("externalcontact/mark_tag", {**PAIR, "add_tag": [tag_id]})
    assert (await corp.call("externalcontact/edit_corp_tag", {"id": tag_id, "name": "黑卡"}))["errcode"] == 0
    assert (await corp.call("externalcontact/del_corp_tag", {"tag_id": [tag_id]}))["errcode"] == 0
    assert (await corp.call("externalcontact/del_corp_tag", {"tag_id": [tag_id]}))["errcode"] == 40068
    assert (await corp.call("externalcontact/get_corp_tag_list", {}))["tag_group"] == []
    assert (await corp.call("externalcontact/get", external_userid=ANN))["follow_user"][0]["tags"] == []


async def test_an_app_may_not_touch_the_consoles_tags_and_hears_of_their_changes(corp: Corp) -> None:
    made = await corp.do("tags", group_name="来源", name="抖音")
    assert (await corp.call("externalcontact/edit_corp_tag", {"id": made["id"], "name": "快手"}))["errcode"] == 60011
    assert (await corp.call("externalcontact/del_corp_tag", {"group_id": [made["group_id"]]}))["errcode"] == 60011
    async with corp.web.delete(f"/sim/tags/{made['group_id']}"):
        pass
    told = [(event["ChangeType"], event["TagType"]) for event in await corp.settled()]
    assert told == [("create", "tag_group"), ("create", "tag"), ("delete", "tag_group")]


# contact ways


@pytest.mark.parametrize(
    ("change", "errcode"),
    [
        ({}, 0),
        ({"scene": 3}, 41040),
        ({"type": 1, "user": ["mei", "qiang"]}, 40058),
        ({"user": []}, 40058),
        ({"user": ["mei"] * 101}, 41041),
        ({"user": ["ghost"]}, 60111),
        ({"style": 9}, 41042),
        ({"state": "s" * 31}, 40058),
        ({"remark": "长" * 31}, 40058),
    ],
)
async def test_contact_ways_are_checked(corp: Corp, change: dict[str, Any], errcode: int) -> None:
    way = {"type": 2, "scene": 2, "user": ["mei"], **change}
    assert (await corp.call("externalcontact/add_contact_way", way))["errcode"] == errcode


async def test_a_contact_way_is_kept_listed_changed_and_removed(corp: Corp) -> None:
    made = await corp.call("externalcontact/add_contact_way", {"type": 2, "scene": 2, "user": ["mei"], "state": "a"})
    config_id = made["config_id"]
    await corp.call("externalcontact/update_contact_way", {"config_id": config_id, "user": ["qiang"], "state": "b"})
    way = (await corp.call("externalcontact/get_contact_way", {"config_id": config_id}))["contact_way"]
    assert (way["user"], way["state"], way["skip_verify"]) == (["qiang"], "b", True)
    async with corp.web.get(way["qr_code"][way["qr_code"].index("/sim/") :]) as picture:
        assert picture.content_type == "image/svg+xml"
    assert (await corp.call("externalcontact/list_contact_way", {}))["contact_way"] == [{"config_id": config_id}]
    await corp.call("externalcontact/del_contact_way", {"config_id": config_id})
    assert (await corp.call("externalcontact/get_contact_way", {"config_id": config_id}))["errcode"] == 41044
    assert (await corp.call("externalcontact/get_contact_way", {}))["errcode"] == 41043
    assert "失效" in (await corp.do(f"phone/{ANN}/add", config_id=config_id))["error"]


async def test_ids_are_converted(corp: Corp) -> None:
    person = corp.world.corp.customers[ANN]
    assert (await corp.call("externalcontact/convert_to_openid", {"external_userid": ANN}))["openid"] == person.openid
    both = {"unionid": person.unionid, "openid": "o1", "subject_type": 0}
    assert (await corp.call("idconvert/unionid_to_external_userid", both))["external_userid"] == ANN
    both["unionid"] = "ounknown"
    assert "pending_id" in await corp.call("idconvert/unionid_to_external_userid", both)
