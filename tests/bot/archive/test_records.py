"""Archived records as the vendor shows them, the keys that open them, and what a line calls for."""

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given, settings
from hypothesis import strategies as some

from bot.archive import rules
from bot.archive.keys import PrivateKeys, WrongPrivateKey
from bot.archive.messages import Agreed, Line, Revoked, Uncounted, parse
from bot.handoff.triggers import Reason
from bot.wecom.api.archive import ArchiveApi

RECORDED = Path(__file__).parents[2] / "fixtures" / "wecom"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def recorded(name: str) -> str:
    return (RECORDED / f"msgaudit_{name}.json").read_text(encoding="utf-8")


def changed(**fields: Any) -> str:
    return json.dumps({**json.loads(recorded("text")), **fields})


ASKED = Line(
    "CAQQluDa4QUY0On2rYSAgAMgzPrShAE=",
    "wrErxtDgAA0jgXE5VLU2bBOWTR4SXC1A",
    "wmErxtDgAA9AW32YyyuYRimKr7D1KWlw",
    "这个猫粮怎么换粮呀？",
    datetime(2019, 1, 10, 2, 38, 14, 783000, tzinfo=UTC),
)
READ = {
    "text": (recorded("text"), ASKED),
    "revoke": (recorded("revoke"), Revoked("14822339130656386894_1603875600")),
    "agree": (recorded("agree"), Agreed("wmGAgeDQAAdBjb8CK4ieMPRm7Cqm-9VA", agreed=True)),
    "switch": (recorded("switch"), Uncounted("switch")),
    "image": (recorded("image"), Uncounted("image")),
    "alone": (changed(roomid=""), Uncounted("single_chat")),
    "robot": (changed(**{"from": "wbAAAA"}), Uncounted("robot")),
    "no-words": (changed(text={"content": " "}), Uncounted("unreadable")),
    "no-id": (changed(msgid=""), Uncounted("unreadable")),
    "long-id": (changed(msgid="x" * 129), Uncounted("unreadable")),
    "a-list": ("[]", Uncounted("unreadable")),
    "no-json": ("<xml/>", Uncounted("unreadable")),
    "not-decrypted": (None, Uncounted("unreadable")),
}


@pytest.mark.parametrize("name", READ)
def test_records_are_read(name: str) -> None:
    content, expected = READ[name]
    assert parse(content) == expected


def test_customers_are_told_from_our_people_by_their_ids() -> None:
    assert ASKED.by_customer
    staff = parse(changed(**{"from": "wangmei"}))
    assert isinstance(staff, Line)
    assert not staff.by_customer


@settings(max_examples=80, deadline=None, database=None)
@given(some.text(max_size=60) | some.dictionaries(some.text(max_size=6), some.text(max_size=6)).map(json.dumps))
def test_any_content_is_read_as_something(content: str) -> None:
    assert parse(content)


def sealed(words: bytes) -> str:
    return base64.b64encode(KEY.public_key().encrypt(words, padding.PKCS1v15())).decode()


def test_a_random_key_opens_with_the_private_key_of_its_version() -> None:
    keys = PrivateKeys({2: KEY})
    assert keys.open(2, sealed(b"random-key")) == "random-key"
    assert keys.open(1, sealed(b"random-key")) is None
    assert keys.open(2, "no base64!") is None
    assert keys.open(2, base64.b64encode(b"short").decode()) is None
    other = PrivateKeys({2: rsa.generate_private_key(public_exponent=65537, key_size=2048)})
    assert other.open(2, sealed(b"random-key")) != "random-key"


def test_a_file_that_holds_no_rsa_key_is_named(tmp_path: Path) -> None:
    curve = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for name, content in (("empty.pem", b""), ("curve.pem", curve)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(WrongPrivateKey, match=name):
            PrivateKeys.load({1: tmp_path / name})
    with pytest.raises(WrongPrivateKey, match=r"missing\.pem"):
        PrivateKeys.load({1: tmp_path / "missing.pem"})


async def test_agreements_are_read_in_the_vendors_spelling() -> None:
    class Caller:
        async def post(self, path: str, body: dict[str, Any], **_more: Any) -> dict[str, Any]:
            assert (path, body) == ("/cgi-bin/msgaudit/check_room_agree", {"roomid": "wr1"})
            found: dict[str, Any] = json.loads(recorded("check_room_agree"))
            return found

    told = await ArchiveApi(Caller()).room_agreements("wr1")  # type: ignore[arg-type]
    assert list(told.values()) == [True, False, True]


@pytest.mark.parametrize(
    ("words", "asks"),
    [
        *(("这个猫粮怎么换粮呀", True), ("明天还有货吗", True), ("多少钱一袋？", True), ("请问门店在哪里", True)),
        *(
            ("哈哈哈哈哈", False),
            ("收到啦谢谢", False),
            ("吗", False),
            ("我家猫今天可乖了", False),
            ("问" * 130, False),
        ),
    ],
)
def test_questions_are_told_from_chatter(words: str, asks: bool) -> None:
    assert rules.looks_like_question(words) is asks


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        *(("我要投诉你们", Reason.COMPLAINT), ("马上给我退款", Reason.REFUND), ("骗子店，垃圾！！", Reason.ANGRY)),
        *(("人工在吗", None), ("猫粮真香", None)),
    ],
)
def test_what_alarms_an_owner(words: str, reason: Reason | None) -> None:
    assert rules.alarm(words) is reason


def test_keywords_are_found_in_any_width() -> None:
    assert rules.keyword("有没有团購呀", ("团购", "批发")) == "团购"
    assert rules.keyword("就看看", ("团购",)) == ""
