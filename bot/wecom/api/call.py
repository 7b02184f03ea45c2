"""The one path every call takes: its turn, a token, the request, and the retries its error allows."""

import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import aiohttp

from bot.wecom.errors import (
    BadAnswer,
    Crowded,
    OutcomeUnknown,
    RateLimited,
    Retry,
    TokenExpired,
    Unreachable,
    WecomError,
)
from bot.wecom.limits import Limiter
from bot.wecom.reading import Json
from bot.wecom.token import TokenCache
from bot.wecom.transport import Blob, Transport
from crm.base.clock import Clock

log = logging.getLogger(__name__)

TRIES = 3
WINDOW_USED_UP = 45009  # of the whole path; 41094 is one task's own limit
SECONDS = 10.0
MOST_PAGES = 100_000  # no listing of ours is that long: a cursor that turns in circles ends

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Part of a listing. It may be short, or empty, without being the last: the last has no cursor."""

    items: tuple[Item, ...]
    next_cursor: str = ""


async def pages(fetch: Callable[[str], Awaitable[Page[Item]]], *, cursor: str = "") -> AsyncIterator[Page[Item]]:
    """Every page from `cursor` on, each fetched when it is asked for."""
    for _ in range(MOST_PAGES):
        page = await fetch(cursor)
        yield page
        if not page.next_cursor or page.next_cursor == cursor:
            return
        cursor = page.next_cursor


class Caller:
    """Makes calls for the apps. `repeatable` is each method's own knowledge of its call:

    True    a read, or a write that says the same twice: tried again after anything that passes, never OutcomeUnknown
    False   a write that would be done twice: tried again only when WeCom surely did nothing, else OutcomeUnknown
    """

    def __init__(
        self,
        transport: Transport,
        tokens: TokenCache,
        limiter: Limiter,
        clock: Clock,
        chance: random.Random,
        *,
        default_app: str,
    ) -> None:
        self.limiter = limiter
        self._transport, self._tokens = transport, tokens
        self._clock, self._chance = clock, chance
        self.default_app = default_app

    async def get(
        self, path: str, params: Mapping[str, str] | None = None, *, app: str | None, repeatable: bool = True
    ) -> Json:
        return _as_json(path, await self.call("GET", path, app=app, params=params, repeatable=repeatable))

    async def post(
        self, path: str, body: Json, *, app: str | None, repeatable: bool, seconds: float = SECONDS, lane: str = ""
    ) -> Json:
        answer = await self.call("POST", path, app=app, json=body, repeatable=repeatable, seconds=seconds, lane=lane)
        return _as_json(path, answer)

    async def call(
        self,
        method: str,
        path: str,
        *,
        app: str | None,
        repeatable: bool,
        params: Mapping[str, str] | None = None,
        json: Json | None = None,
        form: Callable[[], aiohttp.FormData] | None = None,
        seconds: float = SECONDS,
        lane: str = "",
    ) -> Json | Blob:
        """One call with its retries.

        form: builds the upload anew for each try, because sending uses it up.
        lane: a part of the path's calls that the vendor limits by itself.
        """
        renewed, tries, unsure = False, 1, False
        app = app or self.default_app
        limited = f"{app} {lane}" if lane else app
        while True:
            token = ""
            try:
                async with self.limiter.slot(path, limited):
                    token = await self._tokens.get(app)
                    return await self._transport.request(
                        method,
                        path,
                        params={**(params or {}), "access_token": token},
                        json=json,
                        data=form() if form else None,
                        timeout=seconds,
                    )
            except TokenExpired:
                self._tokens.drop(app, token)
                if renewed:
                    raise
                renewed = True
            except WecomError as error:
                error.after_unknown, unsure = unsure, unsure or not error.undone
                self._tell_limiter(error, path, limited)
                if not _may_repeat(error, repeatable):
                    raise
                if tries == TRIES and isinstance(error, OutcomeUnknown):  # its owner may simply repeat it later
                    raise Unreachable(errmsg=error.errmsg, path=path) from error
                if tries == TRIES:
                    raise
                tries += 1
                log.info("wecom.retry", extra={"path": path, "errcode": error.errcode, "tries": tries})
                await self._clock.sleep(error.pause * 2 ** (tries - 2) * self._chance.uniform(0.5, 1.5))

    async def call_robot(self, path: str, key: str, body: Json) -> Json:
        """A group robot's webhook: its key stands where other calls have a token, and each robot has its own limit."""
        return await self.call_open(path, {"key": key}, body, limited=key)

    async def call_open(self, path: str, params: Mapping[str, str], body: Json, *, limited: str) -> Json:
        """A call whose right lies in `params` and not in a token. limited: what the vendor counts it under."""
        async with self.limiter.slot(path, limited):
            try:
                answer = await self._transport.request("POST", path, params=params, json=body, timeout=SECONDS)
            except WecomError as error:
                self._tell_limiter(error, path, limited)
                raise
        return _as_json(path, answer)

    def _tell_limiter(self, error: WecomError, path: str, app: str) -> None:
        if isinstance(error, Crowded):
            self.limiter.crowded(path)
        elif isinstance(error, RateLimited) and error.errcode == WINDOW_USED_UP and error.path == path:
            error.retry_after = self.limiter.block(path, app, seconds=error.retry_after)


def _may_repeat(error: WecomError, repeatable: bool) -> bool:
    if isinstance(error, OutcomeUnknown):
        return repeatable
    return error.retry is Retry.BACKOFF and (repeatable or error.undone)


def _as_json(path: str, answer: Json | Blob) -> Json:
    if isinstance(answer, Blob):
        raise BadAnswer(errmsg="a file where JSON was due", path=path)
    return answer
