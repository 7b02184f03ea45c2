"""One HTTP call to WeCom: timeout, JSON, errcode to exception. The seam where tests put recorded answers."""

import json as jsonlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import aiohttp

from bot.wecom.errors import BadAnswer, OutcomeUnknown, RateLimited, Unreachable, error_for
from bot.wecom.reading import Json, storable

CONNECT_SECONDS = 5.0
_ODD = (b"\\u0000", b"\\ud", b"\\uD", b"NaN", b"Infinity")  # what storable() takes out; most answers have none


@dataclass(frozen=True, slots=True)
class Blob:
    """A file as WeCom sent it."""

    content: bytes
    content_type: str = "application/octet-stream"
    filename: str = ""


class Transport(Protocol):
    """What the client stands on.

    request: the decoded answer of a call that succeeded (`errcode` 0 or absent), or a Blob where the answer is a file.
    Raises Unreachable when nothing can have been done, OutcomeUnknown when the request left and no readable answer
    came, and the error of the errcode otherwise. It retries nothing: what may be repeated is the client's knowledge.
    """

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        json: Json | None = None,
        data: aiohttp.FormData | None = None,
        timeout: float = 10.0,
    ) -> Json | Blob: ...


class HttpTransport:
    """The real one, over a shared keep-alive session. `base_url` is the vendor's, or a simulator's."""

    def __init__(self, session: aiohttp.ClientSession, base_url: str) -> None:
        self._session = session
        self._base = base_url.rstrip("/")

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        json: Json | None = None,
        data: aiohttp.FormData | None = None,
        timeout: float = 10.0,
    ) -> Json | Blob:
        try:
            async with self._session.request(
                method,
                self._base + path,
                params=params,
                data=data if json is None else _body(json),
                headers=None if json is None else {"Content-Type": "application/json"},
                timeout=aiohttp.ClientTimeout(total=timeout, connect=min(timeout, CONNECT_SECONDS)),
                allow_redirects=False,
            ) as answer:
                content = await answer.read()
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as broken:
            raise Unreachable(errmsg=f"could not connect: {type(broken).__name__}", path=path) from broken
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as broken:
            # aiohttp's errors quote the address with the token in it: only their kind goes into ours
            raise OutcomeUnknown(errmsg=f"no answer: {type(broken).__name__}", path=path) from None
        return read_answer(path, answer.status, answer.headers, content)


def read_answer(path: str, status: int, headers: Mapping[str, str], content: bytes) -> Json | Blob:
    """The answer's meaning: JSON without an errcode is a success, an answer that is a file is a Blob."""
    if status >= 500:
        raise OutcomeUnknown(errmsg=f"HTTP {status}", path=path)
    if status == 429:
        raise RateLimited(errmsg="HTTP 429", path=path)
    if status >= 300:
        raise BadAnswer(errmsg=f"HTTP {status}", path=path)
    found = _decode(content)
    if path.endswith("/media/get") and content and (found is None or "errcode" not in found):
        return Blob(content, headers.get("Content-Type", "application/octet-stream"), _filename(headers))
    if found is None:
        raise OutcomeUnknown(errmsg=f"not JSON: {content[:80]!r}", path=path)
    errcode = found.get("errcode", 0)
    if not isinstance(errcode, int):
        raise OutcomeUnknown(errmsg=f"errcode {errcode!r}", path=path)
    if errcode:
        raise error_for(errcode, str(found.get("errmsg", "")), path, headers)
    return found


def _body(json: Json) -> bytes:
    # \uXXXX escapes can be answered with 40033; a lone surrogate must not stop the message it sits in
    return jsonlib.dumps(json, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _decode(content: bytes) -> Json | None:
    if content.lstrip()[:1] != b"{":
        return None
    try:
        found = jsonlib.loads(content)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    cleaned: Json = storable(found) if any(odd in content for odd in _ODD) else found
    return cleaned


def _filename(headers: Mapping[str, str]) -> str:
    message = aiohttp.multipart.parse_content_disposition(headers.get("Content-Disposition"))
    return aiohttp.multipart.content_disposition_filename(message[1]) or ""
