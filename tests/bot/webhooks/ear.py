"""Another system's address, for tests: it writes down what it hears, checks the signature, and answers as told."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass
class Ear:
    """What came, and what the next calls are answered; without a word of it 200."""

    url: str = ""
    heard: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    always: int = 200
    words: str = "thanks"

    async def hear(self, request: web.Request) -> web.Response:
        raw = await request.read()
        self.bodies.append(raw)
        self.headers.append(dict(request.headers))
        self.heard.append(await request.json())
        status = self.answers.pop(0) if self.answers else self.always
        headers = {"Location": "http://127.0.0.1:1/"} if status == 302 else {}
        return web.Response(status=status, text=self.words, headers=headers)

    @property
    def ids(self) -> list[int]:
        return [one["id"] for one in self.heard]


@asynccontextmanager
async def listening_ear() -> AsyncIterator[Ear]:
    ear = Ear()
    site = web.Application()
    site.add_routes([web.post("/hook", ear.hear)])
    runner = web.AppRunner(site, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    ear.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    try:
        yield ear
    finally:
        await runner.cleanup()
