"""The staff's browser without a browser: pages over HTTP, signed in as any role."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer

from bot.access import accounts, sign_ins
from bot.app import App
from bot.flashsale.allocator import Allocator
from bot.web.house import House
from bot.web.screens import COOKIE, form_token
from bot.web.server import create_app
from bot.wecom.client import WecomClient
from crm.base.clock import Clock
from crm.base.db import Sessions
from crm.base.peers import Peers
from crm.base.secrets import Vault
from crm.sight import Role
from tests import town

KEY = "c2l5dS10ZXN0LWtleS0zMi1ieXRlcy1sb25nLWtleSE="  # test key: 32 bytes


class Browser:
    """Somebody signed in. `get` and `post` answer the response; `text` the page they end on."""

    def __init__(self, client: TestClient[Any, Any], token: str) -> None:
        self.client, self.csrf = client, form_token(token)

    async def get(self, path: str, **more: Any) -> ClientResponse:
        return cast(ClientResponse, await self.client.get(path, allow_redirects=False, **more))

    async def post(self, path: str, fields: dict[str, Any] | None = None, **more: Any) -> ClientResponse:
        pairs = [
            (name, one) for name, told in (fields or {}).items() for one in (told if isinstance(told, list) else [told])
        ]
        data = [("csrf", self.csrf), *pairs]
        return cast(ClientResponse, await self.client.post(path, data=data, allow_redirects=False, **more))

    async def text(self, path: str) -> str:
        answer = await self.get(path)
        assert answer.status == 200, (answer.status, await answer.text())
        return await answer.text()


class Staffroom:
    """The pages of one shop over one database."""

    def __init__(self, house: House, server: TestServer) -> None:
        self.house, self.server, self._clients = house, server, list[TestClient[Any, Any]]()

    async def stranger(self) -> TestClient[Any, Any]:
        client: TestClient[Any, Any] = TestClient(self.server)
        self._clients.append(client)
        return client

    async def enter(self, role: Role = Role.OWNER, *, userid: str | None = None, language: str = "zh") -> Browser:
        """Somebody of this role, in a browser of their own."""
        app, client = self.house.app, await self.stranger()
        async with app.sessions.begin() as session:
            account = await accounts.find(session, role.value) or await accounts.make(
                session, role.value, role=role, userid=userid, now=app.clock.now()
            )
            account.language = language
            token = await sign_ins.begin(session, account, address="127.0.0.1", browser="test", now=app.clock.now())
        client.session.cookie_jar.update_cookies({COOKIE: token}, self.server.make_url("/"))
        return Browser(client, token)

    async def close(self) -> None:
        for client in self._clients:
            await client.close()


@asynccontextmanager
async def open_staffroom(sessions: Sessions, clock: Clock, folder: Path, **more: Any) -> AsyncIterator[Staffroom]:
    """`more`: settings that differ from the town's."""
    settings = town.settings("sqlite+aiosqlite://", "http://127.0.0.1:9", folder / "faq.csv", **more)
    chance = random.Random(7)
    app = App(clock=clock, chance=chance, sessions=sessions, peers=Peers(sessions, chance=chance))
    allocator = Allocator(sessions, clock)
    await allocator.start()
    house = House(app, settings, cast(WecomClient, None), allocator, Vault(KEY))
    try:
        async with TestServer(create_app(app, [], house)) as server:
            room = Staffroom(house, server)
            yield room
            await room.close()
    finally:
        await allocator.stop()
