"""The callback address over HTTP: what is genuine is stored once, what is not is a 4xx, a counter, and no row."""

import asyncio
import base64
import http.client
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlencode

import aiohttp
import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import settings as bounded
from hypothesis import strategies as some
from prometheus_client import REGISTRY
from pydantic import SecretStr

from bot.bootstrap import Service, running
from bot.models.gateway import CallbackRow, Handling, KfAccount
from bot.settings import WecomApp
from bot.simulator.envelope import aes_key, sign
from crm.base.clock import FrozenClock
from tests.town import AES_KEY, CORP_ID, TOKEN, settings

OTHER_TOKEN, OTHER_KEY = "OtherToken", "9876543210zyxwvutsrqponmlkjihgfedcbaZYXWVUA"
KF_NEWS = "<xml><ToUserName>{corp}</ToUserName><CreateTime>1</CreateTime><MsgType>event</MsgType><Event>kf_msg_or_event</Event><Token>T1</Token><OpenKfId>wkA</OpenKfId></xml>"  # noqa: E501
ADDED = "<xml><ToUserName>{corp}</ToUserName><FromUserName>sys</FromUserName><CreateTime>1403610513</CreateTime><MsgType>event</MsgType><Event>change_external_contact</Event><ChangeType>add_external_contact</ChangeType><UserID>zhangsan</UserID><ExternalUserID>wmA</ExternalUserID></xml>"  # noqa: E501


@dataclass(frozen=True)
class Packet:
    """A delivery, genuine unless told otherwise."""

    content: str | bytes = KF_NEWS.replace("{corp}", CORP_ID)
    token: str = TOKEN
    key: str = AES_KEY
    receive_id: str = CORP_ID
    nonce: str = "n1"
    seconds_off: int = 0
    pad: bytes | None = None  # instead of the right padding
    length: int | None = None  # instead of the content's
    encrypted: str | None = None  # instead of all that
    signature: str | None = None
    body: bytes | None = None
    query: dict[str, str] = field(default_factory=dict)

    def sealed(self) -> str:
        if self.encrypted is not None:
            return self.encrypted
        content = self.content if isinstance(self.content, bytes) else self.content.encode()
        plain = b"0123456789abcdef" + struct.pack(">I", len(content) if self.length is None else self.length)
        plain += content + self.receive_id.encode()
        count = 32 - len(plain) % 32
        plain += bytes([count]) * count if self.pad is None else self.pad.ljust(count, b"\x00")[:count]
        key = aes_key(self.key)
        cipher = Cipher(algorithms.AES(key), modes.CBC(key[:16])).encryptor()
        return base64.b64encode(cipher.update(plain) + cipher.finalize()).decode()

    def request(self, now: float) -> tuple[dict[str, str], bytes]:
        """(query, body)"""
        sealed, stamp = self.sealed(), str(int(now) + self.seconds_off)
        signature = self.signature or sign(self.token, stamp, self.nonce, sealed)
        body = self.body if self.body is not None else f"<xml><Encrypt><![CDATA[{sealed}]]></Encrypt></xml>".encode()
        return {"msg_signature": signature, "timestamp": stamp, "nonce": self.nonce, **self.query}, body


@dataclass
class Gate:
    """The callback address of a service with two apps, in which nobody works."""

    service: Service
    clock: FrozenClock
    http: aiohttp.ClientSession

    async def post(self, packet: Packet, app: str = "main") -> tuple[int, str]:
        query, body = packet.request(self.clock.now().timestamp())
        url = f"http://127.0.0.1:{self.service.port}/wecom/callback/{app}"
        async with self.http.post(url, params=query, data=body) as answer:
            return answer.status, await answer.text()

    async def rows(self) -> list[CallbackRow]:
        async with self.service.app.sessions.read() as session:
            return list(await session.scalars(sa.select(CallbackRow).order_by(CallbackRow.id)))


@pytest.fixture
async def gate(database_url: str, tmp_path: Path) -> AsyncIterator[Gate]:
    clock = FrozenClock()
    chosen = settings(database_url, "http://127.0.0.1:9", tmp_path / "faq.csv")
    other = WecomApp(agent_id=7, secret=SecretStr("s"), token=SecretStr(OTHER_TOKEN), aes_key=SecretStr(OTHER_KEY))
    chosen = chosen.model_copy(update={"apps": {**chosen.apps, "other": other}})
    async with aiohttp.ClientSession() as http, running(chosen, clock=clock, works=False) as service:
        yield Gate(service, clock, http)


def counted(outcome: str, app: str = "main") -> float:
    return REGISTRY.get_sample_value("siyu_callbacks_total", {"app": app, "outcome": outcome}) or 0.0


BAD: dict[str, tuple[Packet, int, str]] = {
    "another-signature": (Packet(signature="0" * 40), 403, "signature"),
    "no-signature": (Packet(query={"msg_signature": ""}), 403, "signature"),
    "signature-in-chinese": (Packet(signature="签名"), 403, "signature"),
    "signed-with-another-token": (Packet(token="Another"), 403, "signature"),
    "six-minutes-old": (Packet(seconds_off=-360), 403, "stale"),
    "six-minutes-ahead": (Packet(seconds_off=360), 403, "stale"),
    "of-another-corp": (Packet(receive_id="ww9999999999999999"), 403, "receiveid"),
    "of-no-corp": (Packet(receive_id=""), 403, "receiveid"),
    "padding-of-zeros": (Packet(pad=b""), 400, "padding"),
    "padding-too-long": (Packet(pad=b"\x21" * 32), 400, "padding"),
    "length-beyond-the-end": (Packet(length=2**31), 400, "length"),
    "length-too-short": (Packet(length=3), 403, "receiveid"),
    "half-a-block": (Packet(encrypted="MDEyMzQ1Njc="), 400, "length"),
    "nothing-encrypted": (Packet(encrypted=""), 400, "length"),
    "no-base64": (Packet(encrypted="你好!!"), 400, "base64"),
    "body-over-64-kb": (Packet(body=b"<xml>" + b" " * 70_000 + b"</xml>"), 413, "too_large"),
    "empty-body": (Packet(body=b""), 400, "xml"),
    "no-xml": (Packet(body=b'{"encrypt": "x"}'), 400, "xml"),
    "another-root": (Packet(body=b"<html><Encrypt>x</Encrypt></html>"), 400, "xml"),
    "an-entity": (Packet(body=b'<!DOCTYPE x [<!ENTITY e "x">]><xml><Encrypt>&e;</Encrypt></xml>'), 400, "xml"),
    "invalid-utf8": (Packet(body=b"<xml><Encrypt>\xff\xfe</Encrypt></xml>"), 400, "xml"),
    "inside-no-xml": (Packet("hello"), 400, "xml"),
    "inside-nothing": (Packet(""), 400, "xml"),
    "inside-another-root": (Packet("<event/>"), 400, "xml"),
    "inside-an-entity": (Packet('<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/hosts">]><xml>&e;</xml>'), 400, "xml"),
    "inside-invalid-utf8": (Packet(b"<xml><MsgType>\xc3\x28</MsgType></xml>"), 400, "xml"),
    "inside-a-surrogate": (Packet(b"<xml><MsgType>\xed\xa0\xbd</MsgType></xml>"), 400, "xml"),
    "inside-a-nul": (Packet(b"<xml><MsgType>a\x00b</MsgType></xml>"), 400, "xml"),
}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_what_is_not_genuine_is_refused_counted_and_not_stored(gate: Gate) -> None:
    for name, (packet, status, outcome) in BAD.items():
        before = counted(outcome)
        assert await gate.post(packet) == (status, ""), name
        assert counted(outcome) == before + 1, name
    assert await gate.rows() == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_body_that_does_not_tell_its_size_is_cut_off_all_the_same(gate: Gate) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(200):
            yield b" " * 1024

    url = f"http://127.0.0.1:{gate.service.port}/wecom/callback/main"
    async with gate.http.post(url, data=endless()) as answer:
        assert answer.status == 413


async def test_an_event_we_do_not_know_is_kept_as_it_came(gate: Gate) -> None:
    unknown = "<xml><MsgType>event</MsgType><Event>brand_new</Event><X>一</X></xml>"
    assert await gate.post(Packet(unknown)) == (200, "success")
    (row,) = await gate.rows()
    assert (row.event, row.body, row.status) == ("UnknownEvent", unknown, Handling.OPEN)


async def test_the_same_event_in_a_new_envelope_is_thanked_for_and_stored_once(gate: Gate) -> None:
    added = ADDED.replace("{corp}", CORP_ID)
    assert [await gate.post(Packet(added, nonce=nonce)) for nonce in ("n1", "n2", "n3")] == [(200, "success")] * 3
    assert len(await gate.rows()) == 1


async def test_the_same_envelope_again_is_a_replay(gate: Gate) -> None:
    before = counted("replayed")
    assert await gate.post(Packet()) == (200, "success")
    assert await gate.post(Packet()) == (403, "")
    assert counted("replayed") == before + 1
    assert len(await gate.rows()) == 1


async def test_of_twenty_deliveries_of_one_event_at_once_one_is_stored(gate: Gate) -> None:
    added = ADDED.replace("{corp}", CORP_ID)
    answers = await asyncio.gather(*(gate.post(Packet(added, nonce=f"n{n % 10}")) for n in range(20)))
    assert {status for status, _ in answers} <= {200, 403}
    assert len(await gate.rows()) == 1


async def test_kf_news_is_a_wish_to_pull_with_the_newest_token(gate: Gate) -> None:
    for number in (1, 2):
        news = KF_NEWS.replace("{corp}", CORP_ID).replace("T1", f"T{number}")
        assert await gate.post(Packet(news, nonce=f"n{number}")) == (200, "success")
    async with gate.service.app.sessions.read() as session:
        account = (await session.scalars(sa.select(KfAccount))).one()
    assert (account.open_kfid, account.token, account.wanted_at) == ("wkA", "T2", gate.clock.now())


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_each_app_has_its_own_address_and_keys(gate: Gate) -> None:
    theirs = Packet(token=OTHER_TOKEN, key=OTHER_KEY)
    assert await gate.post(theirs, "other") == (200, "success")
    assert (await gate.post(theirs, "main"))[0] == 403
    assert (await gate.post(Packet(nonce="n2"), "other"))[0] == 403
    assert (await gate.post(Packet(), "nobody"))[0] == 404
    assert [row.app for row in await gate.rows()] == ["other"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_who_cannot_store_asks_to_come_again(gate: Gate) -> None:
    await gate.service.inbox.stop()
    query, body = Packet().request(gate.clock.now().timestamp())
    url = f"http://127.0.0.1:{gate.service.port}/wecom/callback/main"
    async with gate.http.post(url, params=query, data=body) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (503, "1")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_the_echo_is_answered_bare_and_only_to_who_signed_it(gate: Gate) -> None:
    url = f"http://127.0.0.1:{gate.service.port}/wecom/callback/main"
    echo = "1616140317555161061"
    for packet, expected in ((Packet(echo), (200, echo)), (Packet(echo, token="No"), (403, ""))):
        query, _ = packet.request(gate.clock.now().timestamp())
        async with gate.http.get(url, params={**query, "echostr": packet.sealed()}) as answer:
            assert (answer.status, await answer.text()) == expected


texts = some.text(max_size=60)
hostile = some.one_of(
    some.builds(Packet, body=some.binary(max_size=400), query=some.dictionaries(texts, texts, max_size=3)),
    some.builds(Packet, some.binary(max_size=200), pad=some.none() | some.binary(max_size=32)),
    some.builds(Packet, texts.map(lambda t: f"<xml><MsgType>{t}</MsgType><Event>{t}</Event></xml>"), nonce=texts),
    some.builds(Packet, encrypted=texts, length=some.none() | some.integers(0, 2**32 - 1)),
)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_nothing_that_can_be_posted_is_a_server_error(gate: Gate) -> None:
    now, port = gate.clock.now().timestamp(), gate.service.port

    @bounded(max_examples=150, deadline=None, database=None)
    @given(hostile)
    def never_a_500(packet: Packet) -> None:
        query, body = packet.request(now)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("POST", f"/wecom/callback/main?{_encoded(query)}", body)
        status = connection.getresponse().status
        connection.close()
        assert status == 200 or 400 <= status < 500

    await asyncio.to_thread(never_a_500)
    assert all(row.body for row in await gate.rows())


def _encoded(query: dict[str, str]) -> str:
    return urlencode(query, errors="surrogatepass", quote_via=quote)
