"""The callback envelope: the vendor's vectors open, everything else is a BadEnvelope with a reason."""

import base64
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from bot.wecom.crypto import BadEnvelope, Envelope, Flaw, parse_xml

TOKEN, KEY, CORP = "SimToken2024", "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG", "ww0000000000000001"
AT, NONCE = "1700000000", "123456"
V1 = (
    "Q3stYC6hdFzMh9T8HCvyDJ7vSgqYEOf4GCjf3WkGoyNVBN8VW3lmSt8KA9L/rVgXovpg15XH4R3cCKfHpZVkkQ==",
    "51127190aaac953326fe92cc5000ce13a249dc3c",
)
V2 = (
    "Q3stYC6hdFzMh9T8HCvyDICzFxVGK2FRTD/LjCY+duT3RwFMzhOjtdfntz4WaODAVgC8r+CfpbksWKTHKCbDnzgj5h4ii7SnR7sltjB7l1XN"
    "ees2im6QVL0rpVRPOcvdv3TpklfAuCp0aDG6Kw/0MJU58+n0aUIe6vPRZw+91LSuUQci29JhycPJMvU3vIrA8jEs9dLIhauPqv7SfPn0mQ==",
    "5100eba929025bcdc8c2d946ac494cdff429bdd7",
)
V2_TEXT = (
    '{"msgid":"m1","aibotid":"b1","chattype":"single","from":{"userid":"u1"},'
    '"msgtype":"text","text":{"content":"你好"}}'
)


def fixed_bytes(count: int) -> bytes:
    return b"0123456789abcdef"[:count]


@pytest.fixture
def envelope() -> Envelope:
    return Envelope(TOKEN, KEY, CORP)


def wrapped(encrypted: str) -> bytes:
    return f"<xml><ToUserName><![CDATA[{CORP}]]></ToUserName><Encrypt><![CDATA[{encrypted}]]></Encrypt></xml>".encode()


def opened(envelope: Envelope, encrypted: str) -> bytes:
    return envelope.open(wrapped(encrypted), envelope.sign(AT, NONCE, encrypted), AT, NONCE)


def sealed_raw(envelope: Envelope, plain: bytes) -> str:
    """A genuine signature and cipher around a plaintext we choose, padding included."""
    return base64.b64encode(envelope._cipher.encrypt(plain)).decode()


def refused(envelope: Envelope, encrypted: str) -> Flaw:
    with pytest.raises(BadEnvelope) as bad:
        opened(envelope, encrypted)
    return bad.value.reason


def test_the_vendors_echo_vector_opens(envelope):
    assert envelope.verify_echo(V1[1], AT, NONCE, V1[0]) == b"1234567890"


def test_the_vendors_vector_with_an_empty_receiver_opens():
    assert Envelope(TOKEN, KEY, "").verify_echo(V2[1], AT, NONCE, V2[0]).decode() == V2_TEXT


def test_sealing_with_the_vectors_random_bytes_gives_the_vendors_ciphertext():
    corp = Envelope(TOKEN, KEY, CORP, random_bytes=fixed_bytes)
    bot = Envelope(TOKEN, KEY, "", random_bytes=fixed_bytes)
    assert (corp.encrypt("1234567890"), corp.sign(AT, NONCE, V1[0])) == V1
    assert (bot.encrypt(V2_TEXT), bot.sign(AT, NONCE, V2[0])) == V2


def test_a_sealed_reply_opens_again(envelope):
    packet = envelope.seal("<xml><MsgType>update_button</MsgType></xml>", timestamp="1700000001", nonce="n1")
    fields = {node.tag: node.text for node in etree.fromstring(packet)}
    inner = envelope.open(packet.encode(), fields["MsgSignature"], fields["TimeStamp"], fields["Nonce"])
    assert inner == b"<xml><MsgType>update_button</MsgType></xml>"


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=300), st.sampled_from(["", CORP, "收件人"]))
def test_what_is_sealed_opens_to_the_same_text(text, receiver):
    envelope = Envelope(TOKEN, KEY, receiver)
    try:
        expected = text.encode()
    except UnicodeEncodeError:
        return
    assert opened(envelope, envelope.encrypt(text)) == expected


@pytest.mark.parametrize("spare", ["E", "F", "G", "H"])
def test_a_key_whose_last_character_carries_spare_bits_is_accepted(spare):
    first, second = Envelope(TOKEN, KEY, CORP), Envelope(TOKEN, KEY[:-1] + spare, CORP)
    assert opened(second, first.encrypt("好")) == "好".encode()


@pytest.mark.parametrize("key", ["", "short", KEY + "H", KEY[:-1] + "!", KEY[:-1] + "\n"])
def test_a_key_that_is_none_is_refused_when_the_service_starts(key):
    with pytest.raises(ValueError, match="EncodingAESKey"):
        Envelope(TOKEN, key, CORP)


def test_a_wrong_signature_is_refused_before_anything_is_decrypted(envelope):
    for signature in ("", "0" * 40, V1[1].upper(), "签名", "\ud800"):
        with pytest.raises(BadEnvelope) as bad:
            envelope.open(wrapped("not even base64"), signature, AT, NONCE)
        assert bad.value.reason == Flaw.SIGNATURE


def test_the_timestamp_and_nonce_are_part_of_what_is_signed(envelope):
    for at, nonce in (("1700000001", NONCE), (AT, "123457")):
        with pytest.raises(BadEnvelope) as bad:
            envelope.verify_echo(V1[1], at, nonce, V1[0])
        assert bad.value.reason == Flaw.SIGNATURE


@pytest.mark.parametrize("off", [timedelta(minutes=6), timedelta(minutes=-6)])
def test_an_envelope_six_minutes_off_is_stale(envelope, off):
    now = datetime.fromtimestamp(int(AT), UTC)
    assert envelope.verify_echo(V1[1], AT, NONCE, V1[0], now=now + timedelta(minutes=4)) == b"1234567890"
    with pytest.raises(BadEnvelope) as bad:
        envelope.verify_echo(V1[1], AT, NONCE, V1[0], now=now + off)
    assert bad.value.reason == Flaw.STALE


@pytest.mark.parametrize("timestamp", ["", "soon", "-1700000000", "１７０００００000", "9" * 30])
def test_a_timestamp_that_is_no_number_is_stale(envelope, timestamp):
    encrypted = envelope.encrypt("x")
    with pytest.raises(BadEnvelope) as bad:
        envelope.open(
            wrapped(encrypted),
            envelope.sign(timestamp, NONCE, encrypted),
            timestamp,
            NONCE,
            now=datetime.fromtimestamp(int(AT), UTC),
        )
    assert bad.value.reason == Flaw.STALE


def test_another_corps_envelope_is_refused(envelope):
    assert refused(envelope, Envelope(TOKEN, KEY, "ww0000000000000002").encrypt("x")) == Flaw.RECEIVEID
    assert refused(envelope, Envelope(TOKEN, KEY, "").encrypt("x")) == Flaw.RECEIVEID


@pytest.mark.parametrize(
    ("plain", "reason"),
    [
        pytest.param(b"r" * 16 + b"\0\0\0\1x" + CORP.encode() + b"\0" * 9, Flaw.PADDING, id="pad of zero"),
        pytest.param(b"r" * 31 + bytes([33]), Flaw.PADDING, id="pad over 32"),
        pytest.param(b"r" * 28 + b"\x01\x02\x03\x04", Flaw.PADDING, id="pad bytes differ"),
        pytest.param(bytes([16]) * 16, Flaw.LENGTH, id="nothing but padding"),
        pytest.param(b"r" * 16 + b"\0\0\0" + bytes([13]) * 13, Flaw.LENGTH, id="length cut off"),
        pytest.param(b"r" * 16 + b"\xff\xff\xff\xff" + bytes([12]) * 12, Flaw.LENGTH, id="length beyond the end"),
        pytest.param(b"r" * 16 + b"\0\0\0\xff" + CORP.encode() + bytes([10]) * 10, Flaw.LENGTH, id="length too large"),
    ],
)
def test_bad_padding_and_length_are_refused(envelope, plain, reason):
    assert refused(envelope, sealed_raw(envelope, plain)) == reason


@pytest.mark.parametrize(
    ("encrypted", "reason"),
    [
        ("", Flaw.LENGTH),
        ("!!!!", Flaw.BASE64),
        ("QUJD\nQUJD", Flaw.BASE64),
        ("QUJ", Flaw.BASE64),
        ("密文", Flaw.BASE64),
        (base64.b64encode(b"x" * 15).decode(), Flaw.LENGTH),
        (base64.b64encode(b"x" * 33).decode(), Flaw.LENGTH),
    ],
)
def test_bad_ciphertext_is_refused(envelope, encrypted, reason):
    assert refused(envelope, encrypted) == reason


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{}", id="json"),
        pytest.param(b"<html></html>", id="another root"),
        pytest.param(b'<xml xmlns="x"><Encrypt>QQ</Encrypt></xml>', id="another namespace"),
        pytest.param(b"<xml><Encrypt>QQ</xml>", id="not closed"),
        pytest.param(b"<xml>\xff\xfe</xml>", id="invalid UTF-8"),
        pytest.param('<?xml version="1.0" encoding="utf-16"?><xml/>'.encode("utf-16"), id="UTF-16"),
        pytest.param("<xml>编</xml>".encode("gbk"), id="GBK"),
        pytest.param(b"<!DOCTYPE xml><xml/>", id="bare doctype"),
        pytest.param(b'<!DOCTYPE xml [<!ENTITY a "b">]><xml>&a;</xml>', id="entity"),
        pytest.param(b'<!DOCTYPE xml SYSTEM "file:///etc/passwd"><xml/>', id="external doctype"),
        pytest.param(
            b'<!DOCTYPE xml [<!ENTITY a SYSTEM "file:///etc/passwd">]><xml><Encrypt>&a;</Encrypt></xml>', id="external"
        ),
        pytest.param(
            b'<!DOCTYPE xml [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;">]>'
            b"<xml>&c;</xml>",
            id="billion laughs",
        ),
        pytest.param(
            b'<!DOCTYPE xml [<!ENTITY a "' + b"x" * 30_000 + b'">]><xml x="' + b"&a;" * 5_000 + b'"/>', id="quadratic"
        ),
        pytest.param(b"<xml>&undeclared;</xml>", id="undeclared entity"),
        pytest.param(b"<xml>" + b"<a>" * 5000 + b"</a>" * 5000 + b"</xml>", id="deep nesting"),
    ],
)
def test_what_is_not_plain_xml_is_refused(envelope, body):
    with pytest.raises(BadEnvelope) as bad:
        envelope.open(body, V1[1], AT, NONCE)
    assert bad.value.reason == Flaw.XML


def test_a_body_over_64_kilobytes_is_refused_before_it_is_parsed(envelope):
    with pytest.raises(BadEnvelope) as bad:
        envelope.open(b"<xml>" + b"<a/>" * 20_000 + b"</xml>", V1[1], AT, NONCE)
    assert bad.value.reason == Flaw.TOO_LARGE
    with pytest.raises(BadEnvelope) as bad:
        envelope.verify_echo(V1[1], AT, NONCE, "A" * 70_000)
    assert bad.value.reason == Flaw.TOO_LARGE


def test_an_envelope_without_encrypt_is_refused(envelope):
    for body in (b"<xml/>", b"<xml><Encrypt/></xml>", b"<xml><Encrypt><a>b</a></Encrypt></xml>"):
        with pytest.raises(BadEnvelope):
            envelope.open(body, envelope.sign(AT, NONCE, ""), AT, NONCE)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400), st.text(max_size=50), st.text(max_size=12), st.text(max_size=12))
def test_no_bytes_raise_anything_but_bad_envelope(body, signature, timestamp, nonce):
    envelope = Envelope(TOKEN, KEY, CORP)
    for attempt in (body, b"<xml><Encrypt>" + body + b"</Encrypt></xml>"):
        with pytest.raises(BadEnvelope):
            envelope.open(attempt, signature, timestamp, nonce)
    with pytest.raises(BadEnvelope):
        envelope.verify_echo(signature, timestamp, nonce, body.decode("latin-1"))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_no_signed_plaintext_raises_anything_but_bad_envelope(plain):
    envelope = Envelope(TOKEN, KEY, CORP)
    try:
        opened(envelope, sealed_raw(envelope, plain[: len(plain) // 16 * 16]))
    except BadEnvelope as bad:
        assert bad.reason in (Flaw.PADDING, Flaw.LENGTH, Flaw.RECEIVEID)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_make_the_xml_reader_raise_anything_but_bad_envelope(content):
    for attempt in (content, b"<xml>" + content + b"</xml>"):
        try:
            assert parse_xml(attempt).tag == "xml"
        except BadEnvelope as bad:
            assert bad.reason == Flaw.XML


def test_random_prefixes_differ_from_message_to_message(envelope):
    assert envelope.encrypt("x") != envelope.encrypt("x")
