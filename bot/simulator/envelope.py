"""The callback envelope: AES-256-CBC with 32-byte padding, the SHA-1 signature, and the XML around both."""

import base64
import hashlib
import hmac
import struct
from collections.abc import Callable
from dataclasses import dataclass
from xml.sax.saxutils import escape

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

BLOCK = 32  # the vendor pads to 32 bytes, not to AES's 16


class BadEnvelope(Exception):
    """The packet is not one the vendor would accept; the message says why."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """One signed and encrypted packet."""

    ciphertext: str
    signature: str
    timestamp: str
    nonce: str

    @property
    def query(self) -> dict[str, str]:
        return {"msg_signature": self.signature, "timestamp": self.timestamp, "nonce": self.nonce}


def aes_key(encoding_aes_key: str) -> bytes:
    """The 32 key bytes of a 43-character EncodingAESKey; its last character may carry spare bits."""
    key = base64.b64decode(encoding_aes_key + "=")
    if len(encoding_aes_key) != 43 or len(key) != 32:
        raise BadEnvelope("EncodingAESKey must have 43 characters")
    return key


def sign(token: str, timestamp: str, nonce: str, ciphertext: str) -> str:
    joined = b"".join(sorted(part.encode() for part in (token, timestamp, nonce, ciphertext)))
    return hashlib.sha1(joined).hexdigest()


class Crypto:
    """Seals and opens packets for one callback setting. `noise(n)` yields n bytes; the vendor uses random ones."""

    def __init__(self, token: str, encoding_aes_key: str, receive_id: str, noise: Callable[[int], bytes]) -> None:
        self._token = token
        self._key = aes_key(encoding_aes_key)
        self._cipher = Cipher(algorithms.AES(self._key), modes.CBC(self._key[:16]))
        self._receive_id = receive_id.encode()
        self._noise = noise

    def seal(self, plaintext: str, *, timestamp: int, nonce: str) -> Sealed:
        ciphertext = self._encrypt(plaintext.encode())
        stamp = str(timestamp)
        return Sealed(ciphertext, sign(self._token, stamp, nonce, ciphertext), stamp, nonce)

    def open(self, sealed: Sealed) -> str:
        expected = sign(self._token, sealed.timestamp, sealed.nonce, sealed.ciphertext)
        if not hmac.compare_digest(expected.encode(), sealed.signature.encode()):
            raise BadEnvelope("signature does not match")
        return self._decrypt(sealed.ciphertext)

    def _encrypt(self, message: bytes) -> str:
        packet = self._noise(16) + struct.pack(">I", len(message)) + message + self._receive_id
        pad = BLOCK - len(packet) % BLOCK
        encryptor = self._cipher.encryptor()
        return base64.b64encode(encryptor.update(packet + bytes([pad]) * pad) + encryptor.finalize()).decode()

    def _decrypt(self, ciphertext: str) -> str:
        try:
            raw = base64.b64decode(ciphertext, validate=True)
            decryptor = self._cipher.decryptor()
            packet = decryptor.update(raw) + decryptor.finalize()
        except ValueError as broken:
            raise BadEnvelope("ciphertext is not whole AES blocks in base64") from broken
        return self._unpack(packet)

    def _unpack(self, packet: bytes) -> str:
        if len(packet) < BLOCK or not 1 <= packet[-1] <= BLOCK:
            raise BadEnvelope("bad padding")
        packet = packet[16 : -packet[-1]]
        if len(packet) < 4 or (length := struct.unpack(">I", packet[:4])[0]) > len(packet) - 4:
            raise BadEnvelope("bad length")
        if packet[4 + length :] != self._receive_id:
            raise BadEnvelope("receiveid is not this corp")
        try:
            return packet[4 : 4 + length].decode()
        except UnicodeDecodeError as broken:
            raise BadEnvelope("message is not UTF-8") from broken


def cdata(text: str) -> str:
    return f"<![CDATA[{text.replace(']]>', ']]]]><![CDATA[>')}]]>"


def xml(fields: dict[str, object], root: str = "xml") -> str:
    """Nested fields as the vendor writes them: text in CDATA, numbers bare, a list repeats its element."""
    return f"<{root}>{''.join(_element(name, value) for name, value in fields.items())}</{root}>"


def _element(name: str, value: object) -> str:
    if isinstance(value, list):
        return "".join(_element(name, each) for each in value)
    if isinstance(value, dict):
        return xml(value, name)
    if isinstance(value, Bare):
        return f"<{name}>{escape(value)}</{name}>"
    return f"<{name}>{value if isinstance(value, int) else cdata(str(value))}</{name}>"


class Bare(str):
    """Text the vendor writes without CDATA, such as the items of MemChangeList."""

    __slots__ = ()


def packet_xml(corpid: str, agentid: str, ciphertext: str) -> bytes:
    """The POST body of a callback; `agentid` is empty for module-level events."""
    return xml({"ToUserName": corpid, "AgentID": agentid, "Encrypt": ciphertext}).encode()
