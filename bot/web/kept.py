"""Figures over everybody, kept for a minute: ten managers who open the review count the shop once."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar

from aiohttp import web

from crm.base.clock import Clock

KEPT_SECONDS = 60.0
MOST = 100

Found = TypeVar("Found")


class Kept:
    """By key, what was read last and when. Who asks while it is being read waits for the same answer."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._found: OrderedDict[Hashable, tuple[float, asyncio.Task[Any]]] = OrderedDict()

    async def get(self, key: Hashable, read: Callable[[], Awaitable[Found]]) -> Found:
        """What `read` found within the last minute; a read that fails is forgotten."""
        now = self._clock.monotonic()
        known = self._found.get(key)
        if known is None or now - known[0] >= KEPT_SECONDS:
            known = now, asyncio.ensure_future(_awaited(read))
            self._found[key] = known
            self._found.move_to_end(key)
            while len(self._found) > MOST:
                self._found.popitem(last=False)
        try:
            found: Found = await asyncio.shield(known[1])
        except Exception:
            if self._found.get(key) is known:
                del self._found[key]
            raise
        return found


KEPT = web.AppKey("kept", Kept)


async def _awaited(read: Callable[[], Awaitable[Found]]) -> Found:
    return await read()
