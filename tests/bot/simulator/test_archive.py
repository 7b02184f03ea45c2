"""The chat archive: groups in batches for who holds the key; no call and no callback tells of a text."""

import base64
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.bot.simulator.conftest import AGENTID, ANN, BOB, Corp

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PUBLIC = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
SECRET = "bridge"


@pytest.fixture
async def archive(corp: Corp) -> Corp:
    setup = {"secret": SECRET, "public_key": PUBLIC, "version": 3, "agentid": AGENTID, "seats": ["mei"]}
    assert (await corp.do("archive", **setup))["on"] is True
    return corp


async def bridge(corp: Corp, call: str, secret: str = SECRET, **body: Any) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {secret}"}
    async with corp.web.post(f"/archive/{call}", json=body, headers=headers) as answer:
        assert answer.status == 200
        told: dict[str, Any] = await answer.json()
        return told


def say(corp: Corp, who: str, words: str, chat: str = "wrgroup") -> None:
    corp.world.groups.say(chat, who, "text", {"content": words})


async def test_a_record_opens_with_the_private_key_and_the_random_key(archive: Corp) -> None:
    say(archive, ANN, "有货吗")
    say(archive, "mei", "有的")
    first, second = (await bridge(archive, "chatdata", seq=0, limit=1000))["chatdata"]
    assert (first["seq"], second["seq"], first["publickey_ver"]) == (1, 2, 3)
    key = KEY.decrypt(base64.b64decode(first["encrypt_random_key"]), padding.PKCS1v15()).decode()
    items = [
        {"encrypt_key": key, "encrypt_chat_msg": first["encrypt_chat_msg"]},
        {"encrypt_key": "wrong", "encrypt_chat_msg": first["encrypt_chat_msg"]},
    ]
    opened, refused = (await bridge(archive, "decrypt", items=items))["messages"]
    assert refused is None
    assert all(part in opened for part in ('"roomid": "wrgroup"', f'"from": "{ANN}"', "有货吗", '"msgtype": "text"'))
    assert (await bridge(archive, "chatdata", seq=2, limit=1000))["chatdata"] == []


async def test_only_the_notice_tells_and_not_more_often_than_every_fifteen_seconds(archive: Corp) -> None:
    for words in ("一句", "二句", "三句"):
        say(archive, ANN, words)
    events = await archive.settled()
    assert [event["Event"] for event in events] == ["msgaudit_notify"]
    assert not any("句" in str(event) for event in events)
    assert "一句" not in str(await archive.call("externalcontact/groupchat/get", {"chat_id": "wrgroup"}))


async def test_records_of_more_than_five_days_ago_are_gone(archive: Corp) -> None:
    say(archive, ANN, "很久以前")
    archive.after(5 * 24 * 3600 + 1)
    say(archive, ANN, "现在")
    found = (await bridge(archive, "chatdata", seq=0, limit=10))["chatdata"]
    assert [one["seq"] for one in found] == [2]


async def test_who_disagrees_and_groups_without_a_licence_are_not_archived(archive: Corp) -> None:
    archive.world.add_group("没有许可的群", "qiang", [ANN], "wrother")
    await archive.do("archive/agree", chat_id="wrgroup", customer=BOB, agrees=False)
    say(archive, BOB, "别读我")
    say(archive, ANN, "没有许可", chat="wrother")
    assert (await archive.look("archive"))["kinds"] == {"disagree": 1}
    told = await archive.call("msgaudit/check_room_agree", {"roomid": "wrgroup"})
    status = {one["exteranalopenid"]: one["agree_status"] for one in told["agreeinfo"]}
    assert status == {ANN: "Agree", BOB: "Disagree"}
    assert (await archive.call("msgaudit/get_permit_user_list", {}))["ids"] == ["mei"]


async def test_what_is_wrong_is_said(archive: Corp) -> None:
    assert (await bridge(archive, "chatdata", secret="other", seq=0, limit=1))["errcode"] == 40001
    for body in ({"seq": -1, "limit": 1}, {"seq": 0, "limit": 1001}, {"seq": "0", "limit": 1}, {}):
        assert (await bridge(archive, "chatdata", **body))["errcode"] == 40058
    assert (await bridge(archive, "decrypt", items=[{"encrypt_key": 1}]))["errcode"] == 40058
    assert "PEM" in (await archive.do("archive", secret="s", public_key="x", agentid=1, seats=[]))["error"]
    assert (await archive.call("msgaudit/check_room_agree", {"roomid": "none"}))["errcode"] == 90501


async def test_without_an_archive_there_is_none(corp: Corp) -> None:
    say(corp, ANN, "有货吗")
    assert (await corp.call("msgaudit/check_room_agree", {"roomid": "wrgroup"}))["errcode"] == 48002
    assert (await bridge(corp, "chatdata", seq=0, limit=1))["errcode"] == 40001
    assert await corp.settled() == []
