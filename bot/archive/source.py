"""Where archived records come from: batches behind a number, still encrypted, and the one function that opens them.

The vendor's SDK is a native library (Linux, Windows) that nobody may pass on, so it runs outside, in a bridge: a small
HTTP service over its two functions, GetChatData and DecryptData. The private key stays here: we open a record's random
key and hand out that key alone, as one calls the SDK. docs/groups.md says what a bridge has to answer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp

from bot.wecom.reading import Json, number, objs, storable, text

MOST = 1_000  # records of a GetChatData
SECONDS = 30.0


class ArchiveUnavailable(Exception):
    """The bridge does not answer, or not sensibly. Nothing was read; the message says what it said."""


@dataclass(frozen=True, slots=True)
class Record:
    """One archived message as the SDK gives it."""

    seq: int
    msgid: str
    key_version: int  # which of our public keys sealed the random key
    random_key: str  # base64, RSA
    sealed: str


@dataclass(frozen=True, slots=True)
class Opened:
    """A record with its random key in the clear: what DecryptData takes."""

    random_key: str
    sealed: str


class Source(Protocol):
    """What the reader stands on; a test has its own."""

    async def records(self, after: int, limit: int) -> Sequence[Record]:
        """Records behind number `after`, in order. Raises ArchiveUnavailable."""
        ...

    async def decrypt(self, opened: Sequence[Opened]) -> Sequence[str | None]:
        """The JSON of each, None where it cannot be decrypted. Raises ArchiveUnavailable."""
        ...


class Bridge:
    """The SDK behind HTTP."""

    def __init__(self, http: aiohttp.ClientSession, url: str, secret: str) -> None:
        self._http, self._url = http, url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {secret}"}

    async def records(self, after: int, limit: int) -> Sequence[Record]:
        answer = await self._post("chatdata", {"seq": after, "limit": min(limit, MOST)})
        found = [_record(one) for one in objs(answer, "chatdata")]
        return sorted((one for one in found if one.seq > after), key=lambda one: one.seq)

    async def decrypt(self, opened: Sequence[Opened]) -> Sequence[str | None]:
        items = [{"encrypt_key": one.random_key, "encrypt_chat_msg": one.sealed} for one in opened]
        answer = await self._post("decrypt", {"items": items})
        messages = answer.get("messages")
        if not isinstance(messages, list) or len(messages) != len(items):
            raise ArchiveUnavailable("decrypt: as many messages as items were due")
        return [one if isinstance(one, str) else None for one in messages]

    async def _post(self, call: str, body: Json) -> Mapping[str, Any]:
        timeout = aiohttp.ClientTimeout(total=SECONDS)
        try:
            async with self._http.post(
                f"{self._url}/{call}", json=body, headers=self._headers, timeout=timeout, allow_redirects=False
            ) as response:
                status, answer = response.status, await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as broken:
            raise ArchiveUnavailable(f"{call}: {type(broken).__name__}") from broken
        errcode = answer.get("errcode", 0) if isinstance(answer, dict) else "no object"
        if status != 200 or errcode:
            raise ArchiveUnavailable(f"{call}: HTTP {status}, errcode {errcode}")
        cleaned: Json = storable(answer)
        return cleaned


def _record(one: Json) -> Record:
    return Record(
        seq=number(one, "seq"),
        msgid=text(one, "msgid"),
        key_version=number(one, "publickey_ver"),
        random_key=text(one, "encrypt_random_key"),
        sealed=text(one, "encrypt_chat_msg"),
    )
