"""What WeCom sends to an AI bot, as recorded, and what goes back."""

import contextlib
import json
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from bot.simulator.envelope import Crypto, Sealed
from bot.wecom import aibot
from bot.wecom.aibot import ChatEntered, From, Mention, NotText, Other, Rated, Rating, StreamRefresh
from bot.wecom.crypto import BadEnvelope, Envelope, Flaw
from tests.bot.wecom.test_crypto import AT, KEY, NONCE, TOKEN, V2, V2_TEXT

RECORDED = Path(__file__).parents[2] / "fixtures" / "wecom"


def recorded(name: str) -> Any:
    return json.loads((RECORDED / f"aibot_{name}.json").read_text(encoding="utf-8"))


def sent_by(msgid: str, chat_id: str = "", corp_id: str = "", userid: str = "USERID") -> From:
    return From(msgid, userid, chat_id, corp_id)


TEXT_ID = "CAIQ16HMjQYY/NGagIOAgAMgq4KM0AI="
PARSED = {
    "text": Mention(sent_by(TEXT_ID, "CHATID"), "hello", "这是今日的测试情况", "CODE"),
    "mixed": Mention(sent_by("M2", corp_id="wwOTHER"), "这是什么猫粮"),
    "image": NotText(sent_by("M3"), "image"),
    "voice": Mention(sent_by("M4"), "多久发货"),
    "stream": StreamRefresh(sent_by("M5", "CHATID"), "STREAMID"),
    "enter_chat": ChatEntered(sent_by("M6")),
    "feedback": Rated(sent_by("M7", "CHATID"), "FEEDBACKID", Rating.INACCURATE, "答非所问"),
    "template_card": Other(sent_by("M8", userid="U"), "template_card_event"),
}


@pytest.mark.parametrize("name", PARSED)
def test_recorded_payloads_are_read(name: str) -> None:
    assert aibot.parse(recorded(name)) == PARSED[name]


@pytest.mark.parametrize(
    ("said", "bot_name", "heard"),
    [
        ("@毛球助手 多久发货", "毛球助手", "多久发货"),
        ("多久发货 @毛球助手\u2005", "毛球助手", "多久发货"),
        ("@毛球 助手\u2005多久发货", "毛球 助手", "多久发货"),
        ("@谁 多久发货", "", "多久发货"),
        ("发到 a@b.cn 行吗", "", "发到 a@b.cn 行吗"),
        ("@毛球助手", "毛球助手", ""),
    ],
)
def test_the_mention_is_not_part_of_the_question(said: str, bot_name: str, heard: str) -> None:
    found = aibot.parse({**recorded("text"), "text": {"content": said}}, bot_name=bot_name)
    assert isinstance(found, Mention)
    assert found.text == heard


def test_the_vendors_vector_opens_and_a_reply_is_sealed_as_the_vendor_reads_it() -> None:
    envelope = Envelope(TOKEN, KEY, "")
    body = json.dumps({"encrypt": V2[0]}).encode()
    payload = aibot.open_packet(envelope, body, (V2[1], AT, NONCE), now=_at())
    assert payload == json.loads(V2_TEXT)
    reply = aibot.stream("S1", "好的，“马上”👌", finish=True, rated_as="F1")
    packet = json.loads(aibot.seal_packet(envelope, reply, timestamp=1700000001, nonce=NONCE))
    assert (packet["timestamp"], packet["nonce"]) == (1700000001, NONCE)
    theirs = Crypto(TOKEN, KEY, "", random.Random(1).randbytes)
    opened = theirs.open(Sealed(packet["encrypt"], packet["msgsignature"], "1700000001", NONCE))
    assert json.loads(opened) == {
        "msgtype": "stream",
        "stream": {"id": "S1", "finish": True, "content": "好的，“马上”👌", "feedback": {"id": "F1"}},
    }


def _at() -> datetime:
    return datetime.fromtimestamp(int(AT), UTC)


BAD = {
    "no-json": (b"<xml/>", Flaw.JSON),
    "a-list": (b"[]", Flaw.JSON),
    "no-encrypt": (b"{}", Flaw.JSON),
    "encrypt-is-a-number": (b'{"encrypt": 7}', Flaw.JSON),
    "nested-without-end": (b"[" * 60_000, Flaw.JSON),
    "too-large": (b" " * 70_000, Flaw.TOO_LARGE),
    "wrong-signature": (b'{"encrypt": "QUJD"}', Flaw.SIGNATURE),
}


@pytest.mark.parametrize("name", BAD)
def test_a_packet_that_is_none_is_refused(name: str) -> None:
    body, flaw = BAD[name]
    with pytest.raises(BadEnvelope) as bad:
        aibot.open_packet(Envelope(TOKEN, KEY, ""), body, (V2[1], AT, NONCE), now=_at())
    assert bad.value.reason is flaw


@pytest.mark.parametrize(
    "change",
    [{"msgid": ""}, {"msgid": "x" * 201}, {"from": None}, {"from": {"userid": ""}}, {"from": {"userid": "u" * 65}}],
)
def test_a_payload_that_does_not_say_who_or_which_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(BadEnvelope):
        aibot.parse({**recorded("text"), **change})


json_values = some.recursive(
    some.none() | some.booleans() | some.integers() | some.text(max_size=20),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
names = some.sampled_from(["msgtype", "text", "mixed", "voice", "event", "quote", "stream", "response_url", "chatid"])


@settings(max_examples=100, deadline=None, database=None)
@given(some.dictionaries(names, json_values | some.sampled_from(["text", "mixed", "event", "stream", "group"])))
def test_any_shape_of_payload_is_read_or_refused(odd: dict[str, Any]) -> None:
    with contextlib.suppress(BadEnvelope):
        aibot.parse({**recorded("text"), **odd})
