"""微信客服 over HTTP: sessions and their states, the window, codes, the sync log, servicers."""

from typing import Any

import pytest

from bot.simulator.kf import State
from tests.bot.simulator.conftest import ANN, BOB, KF, Corp

WHO = {"open_kfid": KF, "external_userid": ANN}
HOUR, DAY = 3600, 86_400


async def state(corp: Corp) -> dict[str, Any]:
    told = await corp.call("kf/service_state/get", WHO)
    return {key: value for key, value in told.items() if not key.startswith("err")}


async def trans(corp: Corp, to: int, servicer: str | None = None) -> dict[str, Any]:
    who = {"servicer_userid": servicer} if servicer else {}
    return await corp.call("kf/service_state/trans", {**WHO, "service_state": to, **who})


async def put_in(corp: Corp, wanted: State) -> None:
    """Bring Ann's session into a state by legal ways."""
    await corp.says(ANN, "在吗")
    if wanted == State.ENDED:
        await trans(corp, State.HUMAN, "mei")
    if wanted != State.UNTREATED:
        await trans(corp, wanted, "mei" if wanted == State.HUMAN else None)


# states

LEGAL = {(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3), (3, 3), (3, 4)}


@pytest.mark.parametrize("before", range(5))
@pytest.mark.parametrize("to", range(5))
async def test_the_api_moves_a_session_only_as_the_table_says(corp: Corp, before: int, to: int) -> None:
    await put_in(corp, State(before))
    told = await trans(corp, to, "qiang" if to == 3 else None)
    assert told["errcode"] == (0 if (before, to) in LEGAL else 95016)
    assert (await state(corp))["service_state"] == (to if told["errcode"] == 0 else before)


async def test_ending_from_any_state_is_a_switch(corp: Corp) -> None:
    corp.world.kf_bot.allow_ending_from_any_state = True
    await put_in(corp, State.BOT)
    assert (await trans(corp, 4))["errcode"] == 0


@pytest.mark.parametrize(
    ("servicer", "errcode"),
    [("qiang", 0), ("QIANG", 0), ("mei", 95019), ("Lin", 95014), ("nobody", 95014), (None, 40058)],
)
async def test_a_human_must_be_a_receiving_servicer(corp: Corp, servicer: str | None, errcode: int) -> None:
    await corp.says(ANN, "在吗")
    await corp.do("staff/mei/receiving", open_kfid=KF, receiving=False)
    assert (await trans(corp, 3, servicer))["errcode"] == errcode


async def test_the_state_names_the_servicer_only_while_a_human_serves(corp: Corp) -> None:
    await put_in(corp, State.HUMAN)
    assert await state(corp) == {"service_state": 3, "servicer_userid": "mei"}
    await trans(corp, 4)
    assert await state(corp) == {"service_state": 4}


async def test_a_session_starts_when_the_customer_writes_and_a_bot_message_claims_it(corp: Corp) -> None:
    assert await state(corp) == {"service_state": 4}
    await corp.says(ANN, "在吗")
    assert await state(corp) == {"service_state": 0}
    await corp.send()
    assert await state(corp) == {"service_state": 1}


async def test_after_a_human_ended_it_the_next_message_opens_it_for_the_bot(corp: Corp) -> None:
    await put_in(corp, State.ENDED)
    await corp.says(ANN, "还有一个问题")
    assert await state(corp) == {"service_state": 0}


async def test_an_account_may_open_into_the_queue(corp: Corp) -> None:
    corp.world.kf.accounts[KF].opens_in = State.QUEUE
    await corp.says(ANN, "在吗")
    assert await state(corp) == {"service_state": 2}


async def test_a_session_ends_by_itself_after_48_hours_without_the_customer(corp: Corp) -> None:
    await put_in(corp, State.HUMAN)
    corp.after(48 * HOUR + 1)
    assert await state(corp) == {"service_state": 4}
    [change] = [each for each in await corp.kf_events() if each["event_type"] == "session_status_change"]
    assert (change["change_type"], change["old_servicer_userid"]) == (3, "mei")


# sending


@pytest.mark.parametrize("wanted", [State.QUEUE, State.HUMAN, State.ENDED])
async def test_nothing_is_sent_while_others_hold_the_session(corp: Corp, wanted: State) -> None:
    await put_in(corp, wanted)
    assert (await corp.send())["errcode"] == 95018


async def test_five_messages_follow_each_message_of_the_customer(corp: Corp) -> None:
    await corp.says(ANN, "在吗")
    assert [(await corp.send())["errcode"] for _ in range(6)] == [0, 0, 0, 0, 0, 95001]
    await corp.says(ANN, "然后呢")
    assert (await corp.send())["errcode"] == 0


async def test_the_window_closes_48_hours_after_the_customers_last_message(corp: Corp) -> None:
    await corp.says(ANN, "在吗")
    corp.after(48 * HOUR)
    assert (await corp.send())["errcode"] == 0
    corp.after(1)
    assert (await corp.send())["errcode"] == 95002


async def test_nobody_is_written_to_who_never_wrote(corp: Corp) -> None:
    assert (await corp.send())["errcode"] == 95018
    assert (await corp.look(f"phone/{ANN}"))["chats"][0]["kind"] != "kf"


async def test_a_repeated_msgid_is_refused_even_when_the_window_is_full(corp: Corp) -> None:
    await corp.says(ANN, "在吗")
    for number in range(5):
        assert (await corp.send(msgid=f"m{number}"))["msgid"] == f"m{number}"
    again = await corp.send(msgid="m0")
    assert (again["errcode"], "msgid duplicated" in again["errmsg"]) == (40058, True)
    assert len(await corp.seen(ANN)) == 6


@pytest.mark.parametrize(
    ("change", "errcode"),
    [
        ({"open_kfid": None}, 60251),
        ({"open_kfid": "kf1"}, 95000),
        ({"open_kfid": "wkother"}, 95004),
        ({"touser": None}, 41035),
        ({"touser": "wmother"}, 40096),
        ({"msgid": "中文"}, 40058),
        ({"msgid": "m" * 33}, 40058),
        ({"msgtype": "hologram"}, 40008),
        ({"msgtype": None}, 40008),
        ({"text": None}, 40058),
        ({"text": {"content": ""}}, 44004),
        ({"text": {"content": 7}}, 40058),
        ({"text": {"content": "啊" * 682 + "ab"}}, 0),
        ({"text": {"content": "啊" * 683}}, 40058),
        ({"msgtype": "image", "image": {"media_id": "made-up"}}, 40007),
        ({"msgtype": "link", "link": {"title": "标" * 43, "url": "https://a.cn"}}, 40058),
        ({"msgtype": "link", "link": {"title": "标题", "url": "a.cn"}}, 45034),
        ({"msgtype": "location", "location": {"latitude": "北"}}, 95022),
        ({"msgtype": "location", "location": {"latitude": 30.1, "longitude": 120.2, "name": "店"}}, 0),
        ({"msgtype": "msgmenu", "msgmenu": {"list": [{"type": "click", "click": {"content": "x"}}] * 11}}, 95008),
        ({"msgtype": "msgmenu", "msgmenu": {"list": [{"type": "shout"}]}}, 95009),
        ({"msgtype": "msgmenu", "msgmenu": {"list": [{"type": "click", "click": {"content": "长" * 43}}]}}, 40058),
        ({"msgtype": "msgmenu", "msgmenu": {"head_content": "选一个", "list": []}}, 0),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_send_msg_checks_what_it_is_given(corp: Corp, change: dict[str, Any], errcode: int) -> None:
    await corp.says(ANN, "在吗")
    assert (await corp.send(**change))["errcode"] == errcode


async def test_media_is_sent_and_seen_until_it_is_three_days_old(corp: Corp) -> None:
    media_id = await corp.upload()
    await corp.says(ANN, "有图吗")
    assert (await corp.send(msgtype="image", image={"media_id": media_id}))["errcode"] == 0
    shown = (await corp.look(f"phone/{ANN}/chats/{KF}/messages"))["messages"][-1]["image"]
    async with corp.web.get(shown["media_url"]) as response:
        assert response.content_type == "image/png"
    corp.after(3 * DAY + 1)
    await corp.says(ANN, "再发一次")
    assert (await corp.send(msgtype="image", image={"media_id": media_id}))["errcode"] == 40007


async def test_a_lost_message_is_accepted_first_and_reported_later(corp: Corp) -> None:
    await corp.says(ANN, "在吗")
    await corp.do("faults", kind="msg_send_fail", fail_type=10, seconds=30)
    assert (await corp.send(msgid="lost1"))["errcode"] == 0
    assert "msg_send_fail" not in [each["event_type"] for each in await corp.kf_events()]
    corp.after(30)
    await corp.settled()
    failed = (await corp.kf_events())[-1]
    assert (failed["event_type"], failed["fail_msgid"], failed["fail_type"]) == ("msg_send_fail", "lost1", 10)
    assert await corp.seen(ANN) == ["在吗"]


# welcome and message codes


async def enter(corp: Corp, **scene: str) -> dict[str, Any]:
    await corp.do(f"phone/{ANN}/kf/{KF}/enter", **scene)
    return (await corp.kf_events())[-1]


async def on_event(corp: Corp, code: str, msgtype: str = "text", **more: Any) -> int:
    payload = {"text": {"content": "欢迎"}, "msgmenu": {"head_content": "欢迎", "list": []}, "image": {"media_id": "x"}}
    body = {"code": code, "msgtype": msgtype, msgtype: payload[msgtype], **more}
    return int((await corp.call("kf/send_msg_on_event", body))["errcode"])


async def test_a_welcome_code_works_once_within_20_seconds(corp: Corp) -> None:
    event = await enter(corp, scene="poster", scene_param="a%3D1")
    assert (event["scene"], event["scene_param"]) == ("poster", "a%3D1")
    corp.after(20)
    assert [await on_event(corp, event["welcome_code"], "msgmenu") for _ in range(2)] == [0, 41050]
    assert "welcome_code" not in await enter(corp)
    corp.after(48 * HOUR + 1)
    late = await enter(corp)
    corp.after(21)
    assert await on_event(corp, late["welcome_code"]) == 41050


async def test_who_has_written_already_gets_no_welcome_code(corp: Corp) -> None:
    await corp.says(ANN, "在吗")
    assert "welcome_code" not in await enter(corp)


async def test_a_welcome_does_not_count_against_the_five(corp: Corp) -> None:
    event = await enter(corp)
    assert await on_event(corp, event["welcome_code"], msgid="w1") == 0
    await corp.says(ANN, "在吗")
    assert [(await corp.send())["errcode"] for _ in range(6)] == [0, 0, 0, 0, 0, 95001]


async def test_the_welcome_code_of_a_contact_is_unknown_here(corp: Corp) -> None:
    await corp.do(f"phone/{ANN}/add", userid="qiang")
    [event] = await corp.settled()
    assert await on_event(corp, event["WelcomeCode"]) == 41050


@pytest.mark.parametrize(
    ("wanted", "msgtype", "errcode"),
    [
        (State.QUEUE, "text", 0),
        (State.QUEUE, "msgmenu", 40008),
        (State.HUMAN, "text", 0),
        (State.HUMAN, "msgmenu", 40008),
        (State.ENDED, "msgmenu", 0),
        (State.ENDED, "image", 40008),
    ],
)
async def test_a_message_code_allows_the_types_of_its_state(
    corp: Corp, wanted: State, msgtype: str, errcode: int
) -> None:
    await corp.says(ANN, "转人工")
    if wanted == State.ENDED:
        await trans(corp, 3, "mei")
    code = (await trans(corp, wanted, "mei" if wanted == State.HUMAN else None))["msg_code"]
    assert await on_event(corp, code, msgtype) == errcode


async def test_a_message_code_dies_with_its_state(corp: Corp) -> None:
    await corp.says(ANN, "转人工")
    queued = (await trans(corp, 2))["msg_code"]
    accepted = (await trans(corp, 3, "mei"))["msg_code"]
    assert await on_event(corp, queued) == 95018
    ended = (await trans(corp, 4))["msg_code"]
    assert await on_event(corp, accepted) == 95013
    corp.after(21)
    assert await on_event(corp, ended) == 41050


async def test_a_transfer_gives_no_second_code(corp: Corp) -> None:
    await corp.says(ANN, "转人工")
    assert "msg_code" in await trans(corp, 3, "mei")
    assert "msg_code" not in await trans(corp, 3, "qiang")


# the log


async def test_sync_msg_pages_by_cursor_and_leaves_out_what_the_api_sent(corp: Corp) -> None:
    for number in range(5):
        await corp.says(ANN, f"第{number}句")
        await corp.send()
    words, cursor, pages = [], "", 0
    while True:
        page = await corp.pull(cursor=cursor, limit=2)
        words += [item["text"]["content"] for item in page["msg_list"]]
        cursor, pages = page["next_cursor"], pages + 1
        if not page["has_more"]:
            break
    assert (words, pages) == ([f"第{number}句" for number in range(5)], 3)
    assert (await corp.pull(cursor=cursor))["msg_list"] == []
    await corp.says(BOB, "轮到我")
    [item] = (await corp.pull(cursor=cursor))["msg_list"]
    assert (item["origin"], item["external_userid"], item["open_kfid"]) == (3, BOB, KF)


async def test_a_cursor_belongs_to_one_account(corp: Corp) -> None:
    other = corp.world.add_kf_account("另一个").open_kfid
    await corp.says(ANN, "在吗")
    cursor = (await corp.pull())["next_cursor"]
    assert (await corp.call("kf/sync_msg", {"open_kfid": other, "cursor": cursor}))["errcode"] == 40058
    for broken in ("made-up", cursor + "0", cursor[:-1] + "z", "c" * 65):
        assert (await corp.pull(cursor=broken))["errcode"] == 40058


async def test_the_log_forgets_after_three_days_and_old_cursors_go_on(corp: Corp) -> None:
    await corp.says(ANN, "旧的")
    start = (await corp.pull(limit=1))["next_cursor"]
    corp.after(2 * DAY)
    await corp.says(ANN, "新的")
    corp.after(DAY + 1)
    for cursor in ("", start):
        assert [item["text"]["content"] for item in (await corp.pull(cursor=cursor))["msg_list"]] == ["新的"]


async def test_a_long_log_is_cut_and_cursors_stay_true(corp: Corp) -> None:
    log = corp.world.kf.accounts[KF].log
    for number in range(3000):
        log.append({"msgid": str(number)}, float(number))
    _, early, _ = log.page("", 10, 0.0)
    items, _, _ = log.page(early, 5, 2000.0 + 3 * DAY)
    assert (items[0]["msgid"], len(log.items)) == ("2000", 1000)
    _, end, more = log.page("", 1000, 2000.0 + 3 * DAY)
    assert (more, log.page(end, 5, 2000.0 + 3 * DAY)[0]) == (False, [])


@pytest.mark.parametrize("limit", [-1, 1001, "9"])
async def test_the_page_size_is_checked(corp: Corp, limit: Any) -> None:
    assert (await corp.pull(limit=limit))["errcode"] == 40058


async def test_the_callbacks_token_is_good_for_ten_minutes_and_one_account(corp: Corp) -> None:
    other = corp.world.add_kf_account("另一个").open_kfid
    await corp.says(ANN, "在吗")
    [event] = await corp.settled()
    assert (await corp.call("kf/sync_msg", {"open_kfid": other, "token": event["Token"]}))["errcode"] == 95007
    assert (await corp.pull(token=event["Token"]))["errcode"] == 0
    corp.after(601)
    assert (await corp.pull(token=event["Token"]))["errcode"] == 95007
    assert (await corp.pull())["errcode"] == 0


async def test_pulling_without_a_token_can_be_limited(corp: Corp) -> None:
    corp.simulator.options.tokenless_pulls_per_minute = 1
    assert [(await corp.pull())["errcode"] for _ in range(2)] == [0, 45009]


async def test_empty_pages_with_more_behind_them_can_be_switched_on(corp: Corp) -> None:
    corp.simulator.options.empty_page_every = 2
    await corp.says(ANN, "在吗")
    await corp.pull()
    empty = await corp.pull()
    assert (empty["msg_list"], empty["has_more"]) == ([], 1)
    assert len((await corp.pull(cursor=empty["next_cursor"]))["msg_list"]) == 1
