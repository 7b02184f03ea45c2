"""The callback envelope: signature, AES, padding, length and receiver; whatever is wrong becomes BadEnvelope."""

import base64
import binascii
import hmac
import re
import secrets
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum

from lxml import etree
from wechatpy.crypto import _get_signature
from wechatpy.crypto.pkcs7 import PKCS7Encoder
from wechatpy.enterprise.crypto import PrpCrypto

LARGEST_BODY = 64 * 1024
STALE_SECONDS = 300
BLOCK = 32  # the vendor pads to 32 bytes, not to AES's 16
HEAD = 20  # 16 random bytes and the length
_PARSER = etree.XMLParser(
    encoding="utf-8",
    resolve_entities=False,
    no_network=True,
    load_dtd=False,
    huge_tree=False,
    remove_comments=True,
    remove_pis=True,
)
_AES_KEY = re.compile(r"[A-Za-z0-9+/]{43}")


class Flaw(StrEnum):
    """What is wrong with an envelope: the label of a counter."""

    SIGNATURE = "signature"
    STALE = "stale"
    REPLAYED = "replayed"  # found by whoever keeps what was seen
    TOO_LARGE = "too_large"
    XML = "xml"  # not XML, another root, a DOCTYPE or an entity, invalid UTF-8
    JSON = "json"  # not JSON, or not an object
    BASE64 = "base64"
    CIPHER = "cipher"
    PADDING = "padding"
    LENGTH = "length"
    RECEIVEID = "receiveid"


class BadEnvelope(Exception):
    """This did not come from WeCom, or not in one piece. Answered with a 4xx and counted by `reason`."""

    def __init__(self, reason: Flaw) -> None:
        super().__init__(reason.value)
        self.reason = reason


def parse_xml(content: bytes) -> "etree._Element":
    """The root of `<xml>…</xml>`; anything else is refused. UTF-8 whatever the declaration says.

    35 µs where xmltodict took 75 µs for the two documents of a callback.
    """
    if len(content) > LARGEST_BODY:
        raise BadEnvelope(Flaw.TOO_LARGE)
    try:
        root = etree.fromstring(content, _PARSER)
    except (etree.XMLSyntaxError, ValueError) as broken:
        raise BadEnvelope(Flaw.XML) from broken
    if root is None or root.tag != "xml" or root.getroottree().docinfo.internalDTD is not None:
        raise BadEnvelope(Flaw.XML)
    return root


class Envelope:
    """One app's callback secrets. `receive_id` is the corp id; empty for an AI bot.

    random_bytes: 16 bytes before each sealed message; a fixed one reproduces the vendor's vectors.
    Raises ValueError when the EncodingAESKey is not 43 characters of base64.
    """

    def __init__(
        self,
        token: str,
        aes_key: str,
        receive_id: str,
        *,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        if not _AES_KEY.fullmatch(aes_key):
            raise ValueError("EncodingAESKey must be 43 letters and digits")
        self._token = token
        self._receive_id = receive_id.encode()
        # Python's decoder ignores the spare bits of the 43rd character, which the vendor's keys may carry
        self._cipher = PrpCrypto(base64.b64decode(aes_key + "=")).cipher
        self._random_bytes = random_bytes

    def verify_echo(
        self, signature: str, timestamp: str, nonce: str, echostr: str, *, now: datetime | None = None
    ) -> bytes:
        """The answer to the vendor's check of our address: exactly these bytes, nothing around them."""
        if len(echostr) > LARGEST_BODY:
            raise BadEnvelope(Flaw.TOO_LARGE)
        self._check(signature, timestamp, nonce, echostr, now)
        return self._decrypt(echostr)

    def open(self, body: bytes, signature: str, timestamp: str, nonce: str, *, now: datetime | None = None) -> bytes:
        """The inner message. `now`: one more than five minutes off is refused; None leaves its age unchecked."""
        encrypted = parse_xml(body).findtext("Encrypt") or ""
        return self.open_sealed(encrypted, signature, timestamp, nonce, now=now)

    def open_sealed(
        self, encrypted: str, signature: str, timestamp: str, nonce: str, *, now: datetime | None = None
    ) -> bytes:
        """open(), for who has taken the ciphertext out of its envelope: an AI bot's is JSON."""
        self._check(signature, timestamp, nonce, encrypted, now)
        return self._decrypt(encrypted)

    def seal(self, message: str, *, timestamp: str, nonce: str) -> str:
        """A passive reply's packet. `timestamp` and `nonce` are ours to choose: digits, and [0-9A-Za-z]."""
        encrypted = self.encrypt(message)
        signature = self.sign(timestamp, nonce, encrypted)
        return (
            f"<xml><Encrypt><![CDATA[{encrypted}]]></Encrypt><MsgSignature><![CDATA[{signature}]]></MsgSignature>"
            f"<TimeStamp>{timestamp}</TimeStamp><Nonce><![CDATA[{nonce}]]></Nonce></xml>"
        )

    def sign(self, timestamp: str, nonce: str, encrypted: str) -> str:
        signature: str = _get_signature(self._token, timestamp, nonce, encrypted)
        return signature

    def encrypt(self, message: str) -> str:
        content = message.encode()
        plain = self._random_bytes(16) + len(content).to_bytes(4, "big") + content + self._receive_id
        return base64.b64encode(self._cipher.encrypt(PKCS7Encoder.encode(plain))).decode()

    def _check(self, signature: str, timestamp: str, nonce: str, encrypted: str, now: datetime | None) -> None:
        try:
            right = hmac.compare_digest(self.sign(timestamp, nonce, encrypted).encode(), signature.encode())
        except UnicodeEncodeError as odd:  # a lone surrogate from a mangled query string
            raise BadEnvelope(Flaw.SIGNATURE) from odd
        if not right:
            raise BadEnvelope(Flaw.SIGNATURE)
        if now is not None and not _fresh(timestamp, now):
            raise BadEnvelope(Flaw.STALE)

    def _decrypt(self, encrypted: str) -> bytes:
        try:
            sealed = base64.b64decode(encrypted, validate=True)
        except (binascii.Error, ValueError) as broken:
            raise BadEnvelope(Flaw.BASE64) from broken
        if not sealed or len(sealed) % 16:
            raise BadEnvelope(Flaw.LENGTH)
        try:
            plain: bytes = self._cipher.decrypt(sealed)
        except Exception as broken:  # whatever the libraries raise is one thing to us
            raise BadEnvelope(Flaw.CIPHER) from broken
        return self._unwrap(_unpad(plain))

    def _unwrap(self, content: bytes) -> bytes:
        end = HEAD + int.from_bytes(content[16:HEAD], "big")
        if len(content) < HEAD or end > len(content):
            raise BadEnvelope(Flaw.LENGTH)
        if content[end:] != self._receive_id:
            raise BadEnvelope(Flaw.RECEIVEID)
        return content[HEAD:end]


def _unpad(plain: bytes) -> bytes:
    count = plain[-1]
    if not 1 <= count <= BLOCK or plain[-count:] != bytes((count,)) * count:
        raise BadEnvelope(Flaw.PADDING)
    return plain[:-count]


def _fresh(timestamp: str, now: datetime) -> bool:
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        return False
    return abs(now.timestamp() - int(timestamp)) <= STALE_SECONDS
