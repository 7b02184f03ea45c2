"""A transport that records requests and plays answers, and a clock in a hurry: the rim of the client's tests."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from bot.wecom.errors import WecomError, error_for
from crm.base.clock import MovableClock

Answer = dict[str, Any] | WecomError | Callable[[], Awaitable[dict[str, Any]]]


@dataclass
class Request:
    method: str
    path: str
    params: dict[str, str]
    json: dict[str, Any] | None
    data: Any


@dataclass
class FakeTransport:
    """Plays a path's queued answers in order, then its usual one; `gettoken` hands out T1, T2, … unless told."""

    usual: dict[str, Answer] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    queued: dict[str, deque[Answer]] = field(default_factory=lambda: defaultdict(deque))
    dead_tokens: set[str] = field(default_factory=set)
    issued: int = 0

    def queue(self, path: str, *answers: Answer) -> None:
        self.queued[path].extend(answers)

    def to(self, path: str) -> list[Request]:
        return [request for request in self.requests if request.path == path]

    async def request(self, method, path, *, params=None, json=None, data=None, timeout=10.0):
        self.requests.append(Request(method, path, dict(params or {}), json, data))
        if (params or {}).get("access_token") in self.dead_tokens:
            await asyncio.sleep(0)
            raise error_for(42001, "access_token expired", path)
        answer = self.queued[path].popleft() if self.queued[path] else self.usual.get(path)
        if answer is None and path == "/cgi-bin/gettoken":
            self.issued += 1
            return {"errcode": 0, "errmsg": "ok", "access_token": f"T{self.issued}", "expires_in": 7200}
        if isinstance(answer, WecomError):
            raise answer
        if callable(answer):
            return await answer()
        found = answer or {"errcode": 0, "errmsg": "ok"}
        if found.get("errcode"):
            raise error_for(found["errcode"], found.get("errmsg", ""), path)
        return found


class HastyClock(MovableClock):
    """Sleeping moves the time forward: pauses are counted, not waited for."""

    def __init__(self) -> None:
        super().__init__(datetime(2026, 3, 9, 2, tzinfo=UTC), rate=0.0)
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.advance(seconds=max(0.0, seconds))
        await asyncio.sleep(0)
