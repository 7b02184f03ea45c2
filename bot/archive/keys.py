"""The shop's private keys for the archive, by version: WeCom seals each record's random key with the public one."""

import base64
import binascii
from collections.abc import Mapping
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key


class WrongPrivateKey(ValueError):
    """A file that holds no RSA private key."""


class PrivateKeys:
    """RSA, PKCS#1 v1.5 as the vendor has it. An old version stays as long as records sealed for it may come."""

    def __init__(self, keys: Mapping[int, rsa.RSAPrivateKey]) -> None:
        self._keys = dict(keys)

    @classmethod
    def load(cls, files: Mapping[int, Path]) -> "PrivateKeys":
        """Raises WrongPrivateKey with the name of the file."""
        return cls({version: _load(path) for version, path in files.items()})

    def open(self, version: int, sealed: str) -> str | None:
        """The random key, None when we have no such version or it does not open. Some 1 ms: call it in a thread.

        With a wrong key the library gives noise instead of an error, by design; then DecryptData refuses it.
        """
        key = self._keys.get(version)
        if key is None:
            return None
        try:
            return key.decrypt(base64.b64decode(sealed, validate=True), padding.PKCS1v15()).decode("ascii")
        except (ValueError, binascii.Error):
            return None


def _load(path: Path) -> rsa.RSAPrivateKey:
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as wrong:
        raise WrongPrivateKey(f"{path} holds no RSA private key in PEM: {type(wrong).__name__}") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise WrongPrivateKey(f"{path} holds another kind of key than RSA")
    return key
