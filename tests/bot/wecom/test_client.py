"""The client: what is retried and what is not, what goes out, and what comes back as types."""

import asyncio
import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot.wecom import errors as e
from bot.wecom.api import broadcasts, contacts, kf
from bot.wecom.api.call import TRIES, Page, pages
from bot.wecom.client import WecomClient
from bot.wecom.kf_items import KfMessage, parse_kf_item
from bot.wecom.limits import Limiter
from bot.wecom.token import GETTOKEN, AppKey, TokenCache
from bot.wecom.transport import Blob
from tests.bot.wecom.fakes import FakeTransport, HastyClock

FIXTURES = Path(__file__).parents[2] / "fixtures" / "wecom"
APPS = {"shop": AppKey(1000002, "S1"), "desk": AppKey(1000003, "S2")}
SEND, STATE, TRANS = "/cgi-bin/kf/send_msg", "/cgi-bin/kf/service_state/get", "/cgi-bin/kf/service_state/trans"
CONTACT = "/cgi-bin/externalcontact"
TEXT = {"touser": "wmAAAA", "open_kfid": "wkAAAA", "msgtype": "text", "text": {"content": "您好"}}
BUSY = {"errcode": -1, "errmsg": "system busy"}
LOST = e.OutcomeUnknown(errmsg="no answer", path=SEND)


@pytest.fixture
def clock() -> HastyClock:
    return HastyClock()


@pytest.fixture
def transport() -> FakeTransport:
    return FakeTransport()


@pytest.fixture(params=["sqlite"])
def database_url(request, tmp_path, sqlite_template) -> str:
    """Only the token row is in play here, and test_token.py races it on both databases."""
    path = tmp_path / "siyu.db"
    path.write_bytes(sqlite_template.read_bytes())
    return f"sqlite+aiosqlite:///{path}"


@pytest.fixture
async def client(transport, sessions, clock):
    tokens = TokenCache(transport, sessions, clock, "ww1", APPS)
    yield WecomClient(
        transport, tokens, Limiter(clock), clock, random.Random(7), corp_id="ww1", apps=APPS, default_app="shop"
    )
    await tokens.close()


def recorded(name: str) -> dict:
    return json.loads((FIXTURES / f"{name}.json").read_text())


# what is retried


async def test_the_token_goes_in_the_query_and_the_usual_app_is_used(client, transport):
    await client.kf.get_state("wkAAAA", "wmAAAA")
    await client.kf.get_state("wkAAAA", "wmAAAA", app="desk")
    assert [request.params for request in transport.to(STATE)] == [{"access_token": "T1"}, {"access_token": "T2"}]
    assert [request.params["corpsecret"] for request in transport.to(GETTOKEN)] == ["S1", "S2"]


@pytest.mark.parametrize("errcode", [40014, 42001])
async def test_an_expired_token_is_renewed_and_the_call_made_once_more(client, transport, errcode):
    transport.queue(SEND, {"errcode": errcode}, {"errcode": 0, "msgid": "m1"})
    assert await client.kf.send_msg(TEXT, msgid="m1") == "m1"
    assert [request.params["access_token"] for request in transport.to(SEND)] == ["T1", "T2"]


async def test_a_fresh_token_that_is_refused_too_ends_the_call(client, transport):
    transport.usual[SEND] = {"errcode": 40014}
    with pytest.raises(e.TokenExpired):
        await client.kf.send_msg(TEXT, msgid="m1")
    assert len(transport.to(SEND)) == 2


async def test_thirty_calls_with_an_expired_token_renew_it_once(client, transport):
    await client.kf.get_state("wkAAAA", "wmAAAA")
    transport.dead_tokens.add("T1")
    await asyncio.gather(*(client.kf.send_msg(TEXT, msgid=f"m{n}") for n in range(30)))
    assert len(transport.to(GETTOKEN)) == 2
    assert len(transport.to(SEND)) == 60


async def test_a_read_is_tried_three_times_with_growing_pauses(client, transport, clock):
    transport.queue(STATE, BUSY, e.Unreachable(path=STATE), {"errcode": 0, "service_state": 1})
    assert (await client.kf.get_state("wkAAAA", "wmAAAA")).state is kf.ServiceState.BOT
    first, second = clock.slept
    assert 0.15 <= first <= 0.45
    assert 0.3 <= second <= 0.9


async def test_after_three_tries_the_error_is_the_callers(client, transport):
    transport.usual[STATE] = BUSY
    with pytest.raises(e.Busy):
        await client.kf.get_state("wkAAAA", "wmAAAA")
    assert len(transport.to(STATE)) == TRIES


async def test_a_read_without_an_answer_is_unreachable_never_unknown(client, transport):
    transport.usual[STATE] = e.OutcomeUnknown(path=STATE)
    with pytest.raises(e.Unreachable):
        await client.kf.get_state("wkAAAA", "wmAAAA")


@pytest.mark.parametrize("errcode", [95001, 84061, 40058, 48002, 123456])
async def test_a_no_is_not_asked_twice(client, transport, errcode):
    transport.usual[SEND] = {"errcode": errcode, "errmsg": "no"}
    with pytest.raises(e.WecomError) as refused:
        await client.kf.send_msg(TEXT, msgid="m1")
    assert refused.value.errcode == errcode
    assert len(transport.to(SEND)) == 1


async def test_a_kf_message_whose_answer_was_lost_is_sent_again_with_the_same_msgid(client, transport):
    transport.queue(SEND, LOST, {"errcode": 40058, "errmsg": "msgid duplicated"})
    assert await client.kf.send_msg(TEXT, msgid="m1") == "m1"
    assert [request.json["msgid"] for request in transport.to(SEND)] == ["m1", "m1"]


async def test_a_repeat_of_what_an_earlier_process_sent_is_told_as_such(client, transport):
    transport.queue(SEND, {"errcode": 40058, "errmsg": "msgid duplicated"})
    with pytest.raises(e.DuplicateMsgid):
        await client.kf.send_msg(TEXT, msgid="m1")


async def test_writes_that_would_be_done_twice_are_left_unknown(client, transport):
    card = {"card_type": "button_interaction", "task_id": "t1"}
    calls = {
        TRANS: lambda: client.kf.trans("wkAAAA", "wmAAAA", kf.ServiceState.BOT),
        "/cgi-bin/kf/send_msg_on_event": lambda: client.kf.send_msg_on_event({"code": "C"}, msgid="m1"),
        f"{CONTACT}/send_welcome_msg": lambda: client.contacts.send_welcome_msg("C", {"text": {"content": "您好"}}),
        f"{CONTACT}/add_msg_template": lambda: client.broadcasts.add_msg_template({"chat_type": "single"}),
        f"{CONTACT}/remind_groupmsg_send": lambda: client.broadcasts.remind_groupmsg_send("m"),
        f"{CONTACT}/add_contact_way": lambda: client.ways.add_contact_way(["zhangsan"]),
        f"{CONTACT}/groupchat/add_join_way": lambda: client.groups.add_join_way(["wrAAAA"]),
        f"{CONTACT}/add_corp_tag": lambda: client.tags.add_corp_tag(["金卡"], group_name="等级"),
        "/cgi-bin/message/send": lambda: client.staff.send_template_card(["zhangsan"], card),
        "/cgi-bin/message/update_template_card": lambda: client.staff.update_template_card(["zhangsan"], "R", {}),
        "/cgi-bin/webhook/send": lambda: client.staff.webhook_send("KEY", {"msgtype": "text"}),
        "/cgi-bin/auth/getuserinfo": lambda: client.staff.getuserinfo("CODE"),
    }
    for path, call in calls.items():
        transport.usual[path] = e.OutcomeUnknown(path=path)
        with pytest.raises(e.OutcomeUnknown):
            await call()
        assert len(transport.to(path)) == 1, path
        transport.usual[path] = BUSY  # it does not say that nothing was done
        with pytest.raises(e.Busy):
            await call()
        assert len(transport.to(path)) == 2, path


async def test_such_a_write_is_tried_again_when_surely_nothing_was_done(client, transport):
    for never_done in ({"errcode": 45033}, {"errcode": 45035}, e.Unreachable(path=TRANS), {"errcode": 42001}):
        transport.queue(TRANS, never_done, {"errcode": 0, "msg_code": "C"})
        assert await client.kf.trans("wkAAAA", "wmAAAA", kf.ServiceState.QUEUE) == "C"


async def test_the_tokens_own_trouble_never_makes_a_write_unknown(client, transport):
    transport.queue(GETTOKEN, *[e.OutcomeUnknown(path=GETTOKEN)] * 5)
    with pytest.raises(e.Unreachable):
        await client.kf.trans("wkAAAA", "wmAAAA", kf.ServiceState.BOT)
    assert not transport.to(TRANS)


async def test_a_message_to_staff_with_a_repeat_guard_may_be_repeated(client, transport):
    path = "/cgi-bin/message/send"
    transport.queue(path, e.OutcomeUnknown(path=path), recorded("message_send"))
    message = {"msgtype": "text", "text": {"content": "有客户等您"}}
    sent = await client.staff.send(["zhangsan", "lisi"], message, repeat_guard=timedelta(minutes=10))
    assert sent.invalid == ("userid1", "userid2")
    assert (sent.msgid, sent.response_code) == ("xxxx", "xyz")
    assert transport.to(path)[1].json == {
        **message,
        "touser": "zhangsan|lisi",
        "agentid": 1000002,
        "enable_duplicate_check": 1,
        "duplicate_check_interval": 600,
    }


async def test_45009_silences_the_path_for_the_others_too(client, transport, clock):
    transport.queue(SEND, {"errcode": 45009, "errmsg": "freq out of limit"})
    for _ in range(3):
        with pytest.raises(e.RateLimited) as limited:
            await client.kf.send_msg(TEXT, msgid="m1")
        assert limited.value.retry_after == 60
    assert len(transport.to(SEND)) == 1
    assert client.limiter.retry_after(SEND, "shop") == 60
    await client.kf.get_state("wkAAAA", "wmAAAA")
    clock.advance(seconds=60)
    await client.kf.send_msg(TEXT, msgid="m1")


async def test_45033_lowers_the_number_of_calls_at_once(client, transport):
    path = f"{CONTACT}/list"
    transport.queue(path, {"errcode": 45033}, {"errcode": 0, "external_userid": ["wmAAAA"]})
    assert await client.contacts.list("zhangsan") == ("wmAAAA",)
    assert client.limiter._gate(path).width == 2


async def test_a_customer_is_tagged_by_one_call_at_a_time(client, transport):
    under_way = most = 0

    async def slowly():
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        return {"errcode": 0}

    transport.usual[f"{CONTACT}/mark_tag"] = slowly
    await asyncio.gather(*(client.tags.mark_tag(f"staff{n}", "wmAAAA", add=["etAAAA"]) for n in range(5)))
    assert most == 1
    await asyncio.gather(*(client.tags.mark_tag("zhangsan", f"wm{n}", add=["etAAAA"]) for n in range(5)))
    assert most > 1


async def test_a_task_still_being_handed_out_is_asked_about_seconds_later(client, transport, clock):
    path = f"{CONTACT}/get_groupmsg_task"
    task = {"userid": "zhangsan", "status": 2, "send_time": 1700000000}
    transport.queue(path, {"errcode": 41063}, {"errcode": 0, "task_list": [task, {"userid": "lisi", "status": 0}]})
    found = await client.broadcasts.get_groupmsg_task("m")
    assert [(one.userid, one.confirmed) for one in found.items] == [("zhangsan", True), ("lisi", False)]
    assert found.items[0].sent_at == datetime.fromtimestamp(1700000000, UTC)
    assert found.items[1].sent_at is None
    assert clock.slept[0] >= 1


# types in, types out


async def test_a_pulled_page_keeps_its_cursor_and_its_items_parse(client, transport):
    transport.queue("/cgi-bin/kf/sync_msg", recorded("kf_sync_msg"))
    page = await client.kf.sync_msg("wkAAAA", cursor=None, token="ENCA", limit=1000, app=None)
    assert (page["next_cursor"], page["has_more"]) == ("4gw7MepFLfgF2VC5npN", 1)
    assert isinstance(parse_kf_item(page["msg_list"][0]), KfMessage)
    [request] = transport.to("/cgi-bin/kf/sync_msg")
    assert request.json == {"open_kfid": "wkAAAA", "token": "ENCA", "limit": 1000, "voice_format": 0}


async def test_an_expired_pull_token_is_its_own_error(client, transport):
    transport.queue("/cgi-bin/kf/sync_msg", {"errcode": 95007, "errmsg": "invalid msgtoken"})
    with pytest.raises(e.PullTokenExpired):
        await client.kf.sync_msg("wkAAAA", token="old")


async def test_kf_accounts_are_listed_page_by_page(client, transport):
    def listed(count: int, start: int = 0) -> dict:
        return {
            "account_list": [
                {"open_kfid": f"wk{n}", "name": "客服", "manage_privilege": True} for n in range(start, start + count)
            ]
        }

    transport.queue("/cgi-bin/kf/account/list", listed(100), listed(20, 100))
    found = [one async for page in pages(client.kf.account_list) for one in page.items]
    assert len(found) == 120
    assert found[119] == kf.Account("wk119", "客服", "", manageable=True)
    assert [request.json["offset"] for request in transport.to("/cgi-bin/kf/account/list")] == [0, 100]


async def test_servicers_say_whether_they_receive(client, transport):
    transport.queue(
        "/cgi-bin/kf/servicer/list",
        {
            "servicer_list": [
                {"userid": "a", "status": 0},
                {"userid": "b", "status": 1, "stop_type": 1},
                {"department_id": 2},
            ]
        },
    )
    assert await client.kf.servicer_list("wkAAAA") == (
        kf.Servicer("a", receiving=True),
        kf.Servicer("b", suspended=True),
        kf.Servicer(department_id=2),
    )


async def test_each_added_servicer_has_a_result(client, transport):
    transport.queue(
        "/cgi-bin/kf/servicer/add",
        {
            "result_list": [
                {"userid": "a", "errcode": 0, "errmsg": "success"},
                {"userid": "b", "errcode": 95014, "errmsg": "no"},
            ]
        },
    )
    assert [one.errcode for one in await client.kf.servicer_add("wkAAAA", ["a", "b"])] == [0, 95014]
    assert transport.to("/cgi-bin/kf/servicer/add")[0].json == {"open_kfid": "wkAAAA", "userid_list": ["a", "b"]}


@pytest.mark.parametrize(
    ("answer", "session"),
    [
        ({"service_state": 3, "servicer_userid": "zhangsan"}, kf.Session(kf.ServiceState.HUMAN, "zhangsan")),
        ({"service_state": 3, "service_userid": "zhangsan"}, kf.Session(kf.ServiceState.HUMAN, "zhangsan")),
        ({"service_state": 0}, kf.Session(kf.ServiceState.UNTREATED)),
        ({"service_state": 9}, kf.Session(kf.ServiceState.ENDED)),
    ],
)
async def test_a_session_state_nobody_knows_is_one_in_which_we_do_not_send(client, transport, answer, session):
    transport.queue(STATE, answer)
    assert await client.kf.get_state("wkAAAA", "wmAAAA") == session


async def test_kf_customers_come_with_those_wecom_does_not_know(client, transport):
    transport.queue(
        "/cgi-bin/kf/customer/batchget",
        {
            "customer_list": [
                {"external_userid": "wmAAAA", "nickname": "李四", "enter_session_context": {"scene": "s"}}
            ],
            "invalid_external_userid": ["wmZZZZ"],
        },
    )
    found = await client.kf.customer_batchget(["wmAAAA", "wmZZZZ"], with_session=True)
    assert (found.found[0].nickname, found.found[0].scene, found.invalid) == ("李四", "s", ("wmZZZZ",))


async def test_get_and_batch_answer_in_different_shapes_and_read_the_same(client, transport):
    transport.queue(f"{CONTACT}/get", recorded("externalcontact_get"))
    transport.queue(f"{CONTACT}/batch/get_by_user", recorded("externalcontact_batch_get_by_user"))
    one = await client.contacts.get("wmAAAA")
    page = await client.contacts.batch_get_by_user(["rocky"])
    assert one.follows[0] == page.items[0].follows[0]
    assert one.follows[0].tag_ids == ("etAAAA", "stAAAA")
    assert one.follows[0].added_at == datetime.fromtimestamp(1525779812, UTC)
    assert one.person == page.items[0].person
    assert (one.person.name, one.person.unionid) == ("李四", "ozynqsAAAA")
    assert page.next_cursor.startswith("r9Fq")


async def test_a_customer_with_over_five_hundred_followers_comes_whole(client, transport):
    first, second = recorded("externalcontact_get"), recorded("externalcontact_get")
    first["next_cursor"] = "C"
    transport.queue(f"{CONTACT}/get", first, second)
    assert len((await client.contacts.get("wmAAAA")).follows) == 2
    assert transport.to(f"{CONTACT}/get")[1].params["cursor"] == "C"


async def test_a_member_of_staff_without_customers_has_none(client, transport):
    transport.queue(f"{CONTACT}/list", {"errcode": 84061, "errmsg": "not external contact", "external_userid": []})
    assert await client.contacts.list("zhangsan") == ()


async def test_batches_go_on_over_empty_pages_until_there_is_no_cursor(client, transport):
    path = f"{CONTACT}/batch/get_by_user"
    transport.queue(path, {"next_cursor": "A"}, recorded("externalcontact_batch_get_by_user"), {"next_cursor": ""})
    found = [len(page.items) async for page in client.contacts.batches(["rocky"])]
    assert found == [0, 1, 0]
    assert transport.to(path)[1].json["cursor"] == "A"


async def test_a_listing_that_does_not_move_on_ends():
    async def fetch(_cursor: str) -> Page[int]:
        return Page((1,), "same")

    assert [page.items async for page in pages(fetch)] == [(1,), (1,)]


async def test_a_remark_sends_only_what_changes_and_clears_with_the_vendors_empty_list(client, transport):
    await client.contacts.remark("zhangsan", "wmAAAA", remark="李总", mobiles=[])
    assert transport.to(f"{CONTACT}/remark")[0].json == {
        "userid": "zhangsan",
        "external_userid": "wmAAAA",
        "remark": "李总",
        "remark_mobiles": [""],
    }


async def test_a_welcome_carries_its_code(client, transport):
    await client.contacts.send_welcome_msg("CODE", {"text": {"content": "欢迎"}}, app="desk")
    [request] = transport.to(f"{CONTACT}/send_welcome_msg")
    assert request.json == {"welcome_code": "CODE", "text": {"content": "欢迎"}}
    assert request.params["access_token"] == "T1"


async def test_corp_tags_are_groups_of_tags(client, transport):
    group = {"group_id": "etG", "group_name": "等级", "order": 1, "create_time": 1557838797}
    tag = {"id": "etAAAA", "name": "金卡", "order": 2, "create_time": 1557838797, "deleted": True}
    transport.queue(f"{CONTACT}/get_corp_tag_list", {"tag_group": [{**group, "tag": [tag]}]})
    [found] = await client.tags.get_corp_tag_list(tag_ids=["etAAAA"])
    assert (found.name, found.tags[0].name, found.tags[0].deleted) == ("等级", "金卡", True)
    assert transport.to(f"{CONTACT}/get_corp_tag_list")[0].json == {"tag_id": ["etAAAA"]}
    transport.queue(f"{CONTACT}/add_corp_tag", {"tag_group": {**group, "tag": [tag]}})
    assert (await client.tags.add_corp_tag(["金卡"], group_name="等级")).tags[0].tag_id == "etAAAA"


async def test_a_group_comes_with_staff_and_customers_told_apart(client, transport):
    transport.queue(f"{CONTACT}/groupchat/get", recorded("groupchat_get"))
    group = await client.groups.get("wrAAAA")
    assert [(one.id, one.is_staff, one.invited_by, one.state) for one in group.members] == [
        ("abel", True, "jack", ""),
        ("wmAAAA", False, "", "klsdup3kj3s1"),
    ]
    assert (group.owner, group.admins, group.member_version[:8]) == ("ZhuShengBen", ("sam",), "71217227")


async def test_groups_are_listed_by_owner(client, transport):
    transport.queue(f"{CONTACT}/groupchat/list", {"group_chat_list": [{"chat_id": "wrAAAA", "status": 0}]})
    assert [page.items[0].chat_id async for page in client.groups.lists(owners=["zhangsan"])] == ["wrAAAA"]
    assert transport.to(f"{CONTACT}/groupchat/list")[0].json["owner_filter"] == {"userid_list": ["zhangsan"]}


async def test_a_join_way_is_made_and_read(client, transport):
    transport.queue(f"{CONTACT}/groupchat/add_join_way", {"config_id": "C"})
    assert await client.groups.add_join_way(["wrAAAA"], state="sale", auto_create_room=True) == "C"
    way = {
        "config_id": "C",
        "scene": 2,
        "chat_id_list": ["wrAAAA"],
        "qr_code": "https://example.com/q",
        "auto_create_room": 1,
    }
    transport.queue(f"{CONTACT}/groupchat/get_join_way", {"join_way": way})
    found = await client.groups.get_join_way("C")
    assert (found.qr_code, found.auto_create_room, found.chat_ids) == ("https://example.com/q", True, ("wrAAAA",))


async def test_a_contact_way_for_one_is_single_and_for_several_multi(client, transport):
    transport.usual[f"{CONTACT}/add_contact_way"] = {"config_id": "C", "qr_code": "https://example.com/q"}
    assert (await client.ways.add_contact_way(["a"], state="ch_0001")).config_id == "C"
    await client.ways.add_contact_way(["a", "b"])
    single, multi = transport.to(f"{CONTACT}/add_contact_way")
    assert single.json == {"type": 1, "scene": 2, "skip_verify": True, "state": "ch_0001", "user": ["a"]}
    assert multi.json["type"] == 2


async def test_a_mass_send_names_whom_it_cannot_reach_and_what_became_of_each_copy(client, transport):
    transport.queue(f"{CONTACT}/add_msg_template", {"msgid": "msgG", "fail_list": ["wmZZZZ"]})
    body = {"chat_type": "single", "external_userid": ["wmAAAA", "wmZZZZ"], "text": {"content": "周四秒杀"}}
    assert await client.broadcasts.add_msg_template(body) == broadcasts.NewBroadcast("msgG", ("wmZZZZ",))
    sent = {"external_userid": "wmAAAA", "userid": "zhangsan", "status": 3}
    transport.queue(f"{CONTACT}/get_groupmsg_send_result", {"send_list": [sent]})
    [page] = [page async for page in client.broadcasts.results("msgG", "zhangsan")]
    assert page.items[0].status is broadcasts.SendStatus.LIMIT_REACHED


async def test_staff_see_cards_and_cards_change(client, transport):
    await client.staff.send_markdown(["zhangsan"], "**转人工**", app="desk")
    assert transport.to("/cgi-bin/message/send")[0].json["agentid"] == 1000003
    transport.queue("/cgi-bin/message/update_template_card", {"invaliduser": ["lisi"]})
    missed = await client.staff.update_template_card(["zhangsan", "lisi"], "R", {"button": {"replace_name": "已接待"}})
    assert missed == ("lisi",)


async def test_a_robot_is_called_with_its_key_and_without_a_token(client, transport):
    await client.staff.webhook_send("KEY", {"msgtype": "text", "text": {"content": "库存告急"}})
    [request] = transport.requests
    assert request.params == {"key": "KEY"}


async def test_a_visitor_is_staff_a_customer_or_neither(client, transport):
    path = "/cgi-bin/auth/getuserinfo"
    transport.queue(path, {"userid": "zhangsan"}, {"openid": "oA", "external_userid": "wmAAAA"}, {"openid": "oB"})
    found = [await client.staff.getuserinfo("CODE") for _ in range(3)]
    assert [(one.userid, one.external_userid, one.openid) for one in found] == [
        ("zhangsan", "", ""),
        ("", "wmAAAA", "oA"),
        ("", "", "oB"),
    ]


async def test_an_upload_is_built_anew_for_each_try(client, transport):
    path = "/cgi-bin/media/upload"
    answer = {"type": "image", "media_id": "M", "created_at": "1380000000"}
    transport.queue(path, e.OutcomeUnknown(path=path), answer)
    uploaded = await client.media.upload(b"\x89PNG....", kind="image", filename="猫.png", content_type="image/png")
    assert uploaded.media_id == "M"
    assert uploaded.created_at == datetime.fromtimestamp(1380000000, UTC)
    first, second = transport.to(path)
    assert first.data is not second.data
    assert first.params["type"] == "image"


async def test_a_download_is_a_file(client, transport):
    async def file():
        return Blob(b"\x89PNG", "image/png", "a.png")

    transport.usual["/cgi-bin/media/get"] = file
    assert (await client.media.get("M")).content == b"\x89PNG"
    transport.usual["/cgi-bin/media/get"] = {"errcode": 0}
    with pytest.raises(e.BadAnswer):
        await client.media.get("M")


async def test_an_answer_with_nothing_in_it_reads_as_empty_things(client):
    assert await client.contacts.get("wmAAAA") == contacts.Contact(contacts.Person("", "", "", 0, 0, ""), ())
    assert (await client.groups.get("wrAAAA")).members == ()
    assert (await client.kf.customer_batchget([])).found == ()
    assert await client.tags.get_corp_tag_list() == ()
