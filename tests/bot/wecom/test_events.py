"""Callbacks and pulled items: every sample of the reference becomes a typed event, and nothing else raises."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.wecom import events as e
from bot.wecom import kf_items as k
from bot.wecom.crypto import BadEnvelope
from bot.wecom.event_xml import parse_event
from bot.wecom.reading import EPOCH

FIXTURES = Path(__file__).parents[2] / "fixtures" / "wecom"
AT = datetime.fromtimestamp(1700000000, UTC)
SYS = {"corp_id": "ww0000000000000001", "from_user": "sys", "created_at": AT}
STAFF = {"corp_id": "ww0000000000000001", "from_user": "zhangsan", "created_at": AT, "agent_id": "1000002"}
PAIR = {"userid": "zhangsan", "external_userid": "wmAAAA"}
CARD = {
    "event_key": "btn_accept",
    "task_id": "task_0001",
    "card_type": "button_interaction",
    "response_code": "RESPONSE_CODE",
    "selected": {"q1": ("o1",)},
}

EXPECTED: dict[str, e.Event] = {
    "kf_msg_or_event": e.KfMsgOrEvent(
        corp_id="ww0000000000000001",
        created_at=AT,
        open_kfid="wkAAAA",
        token="ENCApHxnGDNAVNY4AaSJKj4Tb5mwsEMzxhFmHVGcra996NR",
    ),
    "kf_account_auth_change": e.KfAccountAuthChanged(**SYS, granted=("wkAAAA",), revoked=("wkBBBB",)),
    "change_external_contact_add_external_contact": e.ExternalContactAdded(
        **SYS, **PAIR, state="ch_0001", welcome_code="WELCOMECODE"
    ),
    "change_external_contact_add_half_external_contact": e.ExternalContactHalfAdded(
        **SYS, **PAIR, state="ch_0001", welcome_code="WELCOMECODE"
    ),
    "change_external_contact_edit_external_contact": e.ExternalContactEdited(**SYS, **PAIR, state="ch_0001"),
    "change_external_contact_del_external_contact": e.ExternalContactDeleted(
        **SYS, **PAIR, source="DELETE_BY_TRANSFER"
    ),
    "change_external_contact_del_follow_user": e.FollowDeleted(**SYS, **PAIR),
    "change_external_contact_transfer_fail": e.TransferFailed(**SYS, **PAIR, fail_reason="customer_refused"),
    "change_external_contact_msg_audit_approved": e.MsgAuditApproved(**SYS, **PAIR, welcome_code="WELCOMECODE"),
    "change_external_chat_create": e.GroupCreated(**SYS, chat_id="wrAAAA"),
    "change_external_chat_dismiss": e.GroupDismissed(**SYS, chat_id="wrAAAA"),
    "change_external_chat_update_add_member": e.GroupMembersJoined(
        **SYS,
        chat_id="wrAAAA",
        people=("wmAAAA", "zhangsan"),
        count=2,
        join_scene=1,
        last_version="9c3f97c2ada667dfb5f6d03308d963e1",
        current_version="71217227bbd112ecfe3a49c482195cb4",
    ),
    "change_external_chat_update_del_member": e.GroupMembersLeft(
        **SYS, chat_id="wrAAAA", people=("wmAAAA",), count=1, quit_scene=0, last_version="…", current_version="…"
    ),
    "change_external_chat_update_change_owner": e.GroupOwnerChanged(**SYS, chat_id="wrAAAA"),
    "change_external_chat_update_change_name": e.GroupRenamed(**SYS, chat_id="wrAAAA"),
    "change_external_chat_update_change_notice": e.GroupNoticeChanged(**SYS, chat_id="wrAAAA"),
    "change_external_tag_create": e.TagChanged(**SYS, change=e.TagChange.CREATE, is_group=False, tag_id="etAAAA"),
    "change_external_tag_update": e.TagChanged(**SYS, change=e.TagChange.UPDATE, is_group=True, tag_id="etAAAA"),
    "change_external_tag_delete": e.TagChanged(**SYS, change=e.TagChange.DELETE, is_group=True, tag_id="etAAAA"),
    "change_external_tag_shuffle": e.TagChanged(**SYS, change=e.TagChange.SHUFFLE, is_group=True, tag_id="etAAAA"),
    "msgaudit_notify": e.MsgAuditNotify(**SYS, agent_id="2000004"),
    "enter_agent": e.EnterAgent(**STAFF),
    "click": e.MenuClicked(**STAFF, event_key="MENU_KEY"),
    "view": e.MenuLinkOpened(**STAFF, event_key="https://example.com/menu"),
    "template_card_event": e.CardPressed(**STAFF, **CARD),
    "template_card_menu_event": e.CardMenuPressed(**STAFF, **CARD),
    "text": e.StaffText(**STAFF, msgid="6254710246354620417", content="hello"),
    "image": e.StaffMedia(
        **STAFF,
        msgid="6254710246354620418",
        kind="image",
        media_id="MEDIA_ID",
        pic_url="https://example.com/p.png",
    ),
    "voice": e.StaffMedia(**STAFF, msgid="6254710246354620418", kind="voice", media_id="MEDIA_ID", format="amr"),
    "video": e.StaffMedia(
        **STAFF, msgid="6254710246354620418", kind="video", media_id="MEDIA_ID", thumb_media_id="THUMB_ID"
    ),
    "location": e.StaffLocation(
        **STAFF, msgid="6254710246354620418", latitude="23.134521", longitude="113.358803", label="位置信息"
    ),
    "link": e.StaffLink(
        **STAFF,
        msgid="6254710246354620418",
        title="标题",
        description="描述",
        url="https://example.com/",
        pic_url="https://example.com/p.png",
    ),
}


def sample(name: str) -> bytes:
    return (FIXTURES / f"{name}.xml").read_bytes()


def test_every_sample_has_an_expectation():
    assert {path.stem for path in FIXTURES.glob("*.xml")} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_sample_of_the_reference_parses_into_its_event(name):
    assert parse_event(sample(name)) == EXPECTED[name]


@pytest.mark.parametrize(
    ("items", "people"),
    [("", ()), ("<Item>a</Item>", ("a",)), ("<Item>a</Item><Item/><Item>b</Item>", ("a", "b"))],
    ids=["none", "one", "many and an empty one"],
)
def test_the_list_of_people_may_hold_none_one_or_many(items, people):
    xml = sample("change_external_chat_update_del_member").decode()
    assert parse_event(xml.replace("<Item>wmAAAA</Item>", items).encode()).people == people


def test_several_choices_on_a_card_are_kept_by_question():
    items = "".join(
        f"<SelectedItem><QuestionKey>{q}</QuestionKey><OptionIds>{options}</OptionIds></SelectedItem>"
        for q, options in (("q1", "<OptionId>a</OptionId><OptionId>b</OptionId>"), ("q2", ""))
    )
    xml = sample("template_card_event").decode()
    start, end = xml.index("<SelectedItem>"), xml.index("</SelectedItems>")
    assert parse_event((xml[:start] + items + xml[end:]).encode()).selected == {"q1": ("a", "b"), "q2": ()}


@pytest.mark.parametrize(
    ("xml", "kind"),
    [
        ("<xml/>", ""),
        ("<xml><MsgType>event</MsgType></xml>", "event"),
        ("<xml><MsgType>event</MsgType><Event>brand_new</Event><X><Y>1</Y></X></xml>", "event.brand_new"),
        (
            "<xml><MsgType>event</MsgType><Event>change_external_contact</Event><ChangeType>brand_new</ChangeType></xml>",
            "event.change_external_contact.brand_new",
        ),
        (
            "<xml><MsgType>event</MsgType><Event>change_external_contact</Event>"
            "<ChangeType>add_external_contact</ChangeType><UserID>zhangsan</UserID></xml>",
            "event.change_external_contact.add_external_contact",
        ),
        ("<xml><MsgType>event</MsgType><Event>kf_msg_or_event</Event></xml>", "event.kf_msg_or_event"),
        ("<xml><MsgType><a/></MsgType></xml>", ""),
        ("<xml><MsgType>text</MsgType><MsgType>image</MsgType></xml>", "text"),
        ("<xml><InfoType>suite_ticket</InfoType><SuiteId>s</SuiteId></xml>", ""),
        ("<xml><MsgType>text</MsgType><CreateTime>soon</CreateTime></xml>", "text"),
        ("<xml><MsgType>text</MsgType><CreateTime>99999999999999999999</CreateTime></xml>", "text"),
    ],
)
def test_what_we_have_no_type_for_is_kept_raw(xml, kind):
    event = parse_event(xml.encode())
    assert isinstance(event, e.UnknownEvent)
    assert event.kind == kind
    assert e.dedupe_key(event)


def test_an_unknown_event_keeps_nested_and_repeated_fields():
    event = parse_event(b"<xml><MsgType>odd</MsgType><L><I>a</I><I>b</I></L><E/></xml>")
    assert event.raw == {"MsgType": "odd", "L": {"I": ["a", "b"]}, "E": ""}


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(
        st.text(alphabet="abc好<&]", max_size=5),
        lambda inner: st.dictionaries(
            st.sampled_from(["MsgType", "Event", "ChangeType", "UserID", "MemChangeList", "Item", "SelectedItems"]),
            inner,
            max_size=4,
        ),
        max_leaves=8,
    )
)
def test_no_well_formed_callback_raises(tree):
    def written(node: object) -> str:
        if isinstance(node, dict):
            return "".join(f"<{name}>{written(value)}</{name}>" for name, value in node.items())
        return str(node).replace("&", "&amp;").replace("<", "&lt;").replace("]]>", "")

    try:
        e.dedupe_key(parse_event(f"<xml>{written(tree)}</xml>".encode()))
    except BadEnvelope as bad:
        pytest.fail(f"refused as {bad.reason}")


def test_tokens_and_codes_stay_out_of_logs():
    for name in ("kf_msg_or_event", "change_external_contact_add_external_contact", "template_card_event"):
        assert not any(secret in repr(EXPECTED[name]) for secret in ("ENCAp", "WELCOMECODE", "RESPONSE_CODE"))


# dedupe keys


def test_a_repeat_of_any_sample_has_the_same_key_and_no_two_samples_share_one():
    keys = {name: e.dedupe_key(parse_event(sample(name))) for name in EXPECTED if name != "kf_msg_or_event"}
    assert all(key == e.dedupe_key(parse_event(sample(name))) for name, key in keys.items())
    by_message = {"image", "voice", "video", "location", "link"}  # the samples share one MsgId
    alone = [key for name, key in keys.items() if name not in by_message]
    assert None not in keys.values()
    assert len(set(alone)) == len(alone)


def test_a_kf_callback_has_no_key():
    assert e.dedupe_key(parse_event(sample("kf_msg_or_event"))) is None


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("change_external_contact_add_external_contact", "wmAAAA", "wmBBBB"),
        ("change_external_contact_add_external_contact", "WELCOMECODE", "ANOTHER"),
        ("change_external_contact_del_follow_user", "1700000000", "1700000001"),
        ("change_external_chat_update_add_member", "71217227", "81217227"),
        ("change_external_tag_create", "etAAAA", "etBBBB"),
        ("template_card_event", "RESPONSE_CODE", "ANOTHER_CODE"),
        ("click", "MENU_KEY", "OTHER_KEY"),
        ("text", "6254710246354620417", "6254710246354620419"),
    ],
)
def test_two_events_of_the_same_second_have_different_keys(name, old, new):
    xml = sample(name)
    other = parse_event(xml.replace(old.encode(), new.encode()))
    assert e.dedupe_key(parse_event(xml)) != e.dedupe_key(other)


# kf/sync_msg


def pulled() -> list[dict[str, object]]:
    page = json.loads((FIXTURES / "kf_sync_msg.json").read_text())
    return list(page["msg_list"])


def test_every_pulled_sample_parses_into_its_type():
    kinds = [type(k.parse_kf_item(raw)) for raw in pulled()]
    assert kinds == [
        *[k.KfMessage] * 15,
        k.EnterSession,
        k.MsgSendFail,
        k.ServicerStatusChange,
        *[k.SessionStatusChange] * 4,
        k.UserRecall,
        k.ServicerRecall,
        k.RejectSwitchChange,
    ]


def test_a_tapped_menu_line_carries_its_id_and_words():
    item = k.parse_kf_item(pulled()[0])
    assert item == k.KfMessage(
        msgid="from_msgid_4622416642169452483",
        open_kfid="wkAAAA",
        external_userid="wmAAAA",
        sent_at=datetime.fromtimestamp(1615478585, UTC),
        origin=k.Origin.CUSTOMER,
        msgtype="text",
        text="hello",
        menu_id="101",
        payload={"content": "hello", "menu_id": "101"},
    )


def test_an_event_names_its_account_and_customer_inside():
    entered = next(item for item in map(k.parse_kf_item, pulled()) if isinstance(item, k.EnterSession))
    assert (entered.open_kfid, entered.external_userid) == ("wkAAAA", "wmAAAA")
    assert (entered.scene, entered.scene_param, entered.welcome_code) == ("ch_0001", "a=1", "WELCOMECODE")
    changes = [item.change for item in map(k.parse_kf_item, pulled()) if isinstance(item, k.SessionStatusChange)]
    assert changes == [k.SessionChange(n) for n in (1, 2, 3, 4)]


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"msgtype": 7},
        {"msgid": None, "msgtype": "text"},
        {"msgid": "m", "msgtype": "event"},
        {"msgid": "m", "msgtype": "event", "event": []},
        {"msgid": "m", "msgtype": "event", "event": {"event_type": "brand_new"}},
        {"msgtype": "event", "event": {"event_type": "enter_session"}},
    ],
)
def test_what_is_no_known_item_is_kept_raw(raw):
    item = k.parse_kf_item(raw)
    assert isinstance(item, k.UnknownKfItem)
    assert item.raw == raw


def test_fields_of_the_wrong_type_are_empty():
    raw = {"msgid": 12, "msgtype": "text", "text": {"content": ["x"]}, "origin": "3", "send_time": "x", "open_kfid": {}}
    item = k.parse_kf_item(raw)
    assert isinstance(item, k.KfMessage)
    assert (item.msgid, item.text, item.origin, item.open_kfid, item.sent_at) == ("12", "", 3, "", EPOCH)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(
    ["msgid", "msgtype", "event", "event_type", "origin", "send_time", "text", "change_type", "status", "open_kfid"]
)
VALUES = JSON | st.sampled_from(["event", "text", *k._EVENTS])


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(NAMES, VALUES | st.dictionaries(NAMES, VALUES, max_size=5), max_size=8))
def test_no_json_object_raises(raw):
    assert isinstance(k.parse_kf_item(raw), k.KfItem)
