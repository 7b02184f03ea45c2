"""Live figures for browsers: one look at the database serves everybody who watches a sale.

Each event is the whole state, so a browser that was away needs nothing it missed, and a slow one simply gets fewer.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from sqlalchemy.exc import SQLAlchemyError

log = logging.getLogger(__name__)

State = dict[str, Any]
Look = Callable[[int], Awaitable[State]]

LOOK_EVERY = 0.5  # seconds
HEARTBEAT = 15.0


@dataclass(slots=True)
class _Watched:
    """One sale: its newest state, and a number that rises with each change."""

    state: State = field(default_factory=dict)
    version: int = 0
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    watchers: int = 0
    task: asyncio.Task[None] | None = None


class Live:
    """Watches what somebody watches, and nothing else. look: reads a sale's state by its id."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self._watched: dict[int, _Watched] = {}
        self._stopping = False

    async def stop(self) -> None:
        """Let go of every browser; they come back by themselves."""
        self._stopping = True
        for one in list(self._watched.values()):
            async with one.changed:
                one.changed.notify_all()

    async def stream(self, request: web.Request, key: int) -> web.StreamResponse:
        """Server-sent events until the browser goes or we stop."""
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        )
        await response.prepare(request)
        watched = self._watched.setdefault(key, _Watched())
        watched.watchers += 1
        if watched.task is None:
            watched.task = asyncio.create_task(self._keep_looking(key, watched), name=f"live:{key}")
        try:
            await self._tell(response, watched)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            watched.watchers -= 1
            if not watched.watchers and self._watched.get(key) is watched:
                del self._watched[key]
                if watched.task is not None:
                    watched.task.cancel()
        return response

    async def _tell(self, response: web.StreamResponse, watched: _Watched) -> None:
        seen = 0
        await response.write(b"retry: 2000\n\n")
        while not self._stopping:
            if watched.version > seen:
                seen = watched.version
                data = json.dumps(watched.state, ensure_ascii=False, separators=(",", ":"))
                await response.write(f"id: {seen}\ndata: {data}\n\n".encode())
                continue
            try:
                async with asyncio.timeout(HEARTBEAT):
                    async with watched.changed:
                        if watched.version <= seen and not self._stopping:
                            await watched.changed.wait()
            except TimeoutError:
                await response.write(b": still here\n\n")

    async def _keep_looking(self, key: int, watched: _Watched) -> None:
        while True:
            try:
                state = await self._look(key)
            except (SQLAlchemyError, OSError):  # away for a moment: the last state stands
                pass
            except Exception:  # a bug: whoever watches keeps the last state, and the next look may be well again
                log.exception("live.look_failed", extra={"key": key})
            else:
                if state != watched.state:
                    async with watched.changed:
                        watched.state, watched.version = state, watched.version + 1
                        watched.changed.notify_all()
            await asyncio.sleep(LOOK_EVERY)
