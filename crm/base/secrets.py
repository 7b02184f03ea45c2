"""What must not lie about in plain text: sealed with AES-GCM, found again by a keyed hash.

Two keys are derived from the shop's one: a stolen index of hashes helps nobody to open what is sealed, nor the reverse.
"""

import base64
import binascii
import hmac
import os
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
NONCE_BYTES = 12


class WrongKey(Exception):
    """The key is no 32 bytes of base64, or what was sealed was sealed with another one."""


class Vault:
    """Seals and opens with the shop's key. `about` ties a sealed text to its purpose: moved elsewhere it stays shut."""

    def __init__(self, key: str) -> None:
        """key: 32 bytes as base64, as `openssl rand -base64 32` makes it. Raises WrongKey."""
        try:
            secret = base64.b64decode(key, validate=True)
        except (binascii.Error, ValueError) as error:
            raise WrongKey("not base64") from error
        if len(secret) != KEY_BYTES:
            raise WrongKey(f"{len(secret)} bytes instead of {KEY_BYTES}")
        self._seal = AESGCM(hmac.digest(secret, b"siyu seal", sha256))
        self._index = hmac.digest(secret, b"siyu index", sha256)

    def seal(self, text: str, *, about: str) -> str:
        nonce = os.urandom(NONCE_BYTES)  # never twice: chance from the system, whatever a test freezes
        return base64.b64encode(nonce + self._seal.encrypt(nonce, text.encode(), about.encode())).decode()

    def open(self, sealed: str, *, about: str) -> str:
        """Raises WrongKey when the key or the purpose is another, or somebody changed a byte."""
        try:
            packed = base64.b64decode(sealed, validate=True)
            return self._seal.decrypt(packed[:NONCE_BYTES], packed[NONCE_BYTES:], about.encode()).decode()
        except (InvalidTag, ValueError) as error:
            raise WrongKey("sealed with another key, or for another purpose") from error

    def fingerprint(self, text: str, *, about: str) -> str:
        """The same for the same text and key, and telling nothing of it: what can be looked up."""
        return hmac.digest(self._index, f"{about}\x1f{text}".encode(), sha256).hex()
