"""One small corp over HTTP: a service that receives its callbacks, and short ways to call the API and be a person."""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree

import pytest
from aiohttp import FormData, web
from aiohttp.test_utils import TestClient, TestServer

from bot.simulator.corp import CallbackTarget
from bot.simulator.envelope import Crypto, Sealed
from bot.simulator.server import create_app
from bot.simulator.simulator import Simulator
from crm.base.clock import FrozenClock

CORPID = "ww0000000000000001"
AGENTID = 1000002
SECRET = "secret-of-the-test-app"
TOKEN = "SimToken2024"
AES_KEY = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
KF = "wk0000000000000001"
ANN, BOB = "wmann", "wmbob"
PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 40

Web = TestClient[web.Request, web.Application]
AiohttpClient = Callable[..., Awaitable[Web]]


@dataclass
class Service:
    """The service under development: keeps what it received, opened; answers what the test says."""

    events: list[dict[str, Any]] = field(default_factory=list)
    envelopes: list[Sealed] = field(default_factory=list)
    answers: list[web.Response | Callable[[dict[str, Any]], web.Response]] = field(default_factory=list)
    url: str = ""

    def crypto(self) -> Crypto:
        return Crypto(TOKEN, AES_KEY, CORPID, random.Random(1).randbytes)

    async def receive(self, request: web.Request) -> web.Response:
        packet = ElementTree.fromstring(await request.read())
        query = request.query
        sealed = Sealed(packet.findtext("Encrypt") or "", query["msg_signature"], query["timestamp"], query["nonce"])
        event = plain(ElementTree.fromstring(self.crypto().open(sealed)))
        self.events.append({**event, "envelope_agentid": packet.findtext("AgentID")})
        self.envelopes.append(sealed)
        if not self.answers:
            return web.Response()
        answer = self.answers.pop(0)
        return answer if isinstance(answer, web.Response) else answer(event)

    async def verify(self, request: web.Request) -> web.Response:
        query = request.query
        sealed = Sealed(query["echostr"], query["msg_signature"], query["timestamp"], query["nonce"])
        return web.Response(text=self.crypto().open(sealed))

    def names(self) -> list[str]:
        return [str(event.get("Event")) for event in self.events]


def plain(node: ElementTree.Element) -> Any:
    return {child.tag: plain(child) if len(child) else child.text or "" for child in node}


@dataclass
class Corp:
    """The simulator over HTTP, seen by a developer."""

    simulator: Simulator
    web: Web
    service: Service
    token: str = ""

    @property
    def world(self) -> Any:
        return self.simulator.world

    async def call(self, path: str, body: dict[str, Any] | None = None, /, **query: Any) -> dict[str, Any]:
        """An API call with the current token: GET without a body, POST with one."""
        if not self.token:
            told = await self._json("GET", "gettoken", {"corpid": CORPID, "corpsecret": SECRET})
            self.token = told["access_token"]
        return await self._json("GET" if body is None else "POST", path, {"access_token": self.token, **query}, body)

    async def raw(self, method: str, path: str, query: dict[str, Any], data: Any = None) -> dict[str, Any]:
        async with self.web.request(method, f"/cgi-bin/{path}", params=query, data=data) as response:
            assert response.status == 200
            told: dict[str, Any] = await response.json()
            return told

    async def _json(
        self, method: str, path: str, query: dict[str, Any], body: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        data = None if body is None else json.dumps(body, ensure_ascii=False).encode()
        return await self.raw(method, path, query, data)

    async def do(self, path: str, /, **body: Any) -> dict[str, Any]:
        """A deed through the control interface; refusals are returned as they come."""
        async with self.web.post(f"/sim/{path}", json=body) as response:
            told: dict[str, Any] = await response.json()
            return told

    async def look(self, path: str, /, **query: Any) -> dict[str, Any]:
        async with self.web.get(f"/sim/{path}", params=query) as response:
            told: dict[str, Any] = await response.json()
            return told

    async def says(self, who: str, content: str, chat: str = KF) -> dict[str, Any]:
        return await self.do(f"phone/{who}/chats/{chat}/messages", msgtype="text", text={"content": content})

    async def send(self, who: str = ANN, content: str = "好的", **more: Any) -> dict[str, Any]:
        body = {"touser": who, "open_kfid": KF, "msgtype": "text", "text": {"content": content}, **more}
        return await self.call("kf/send_msg", body)

    async def pull(self, **body: Any) -> dict[str, Any]:
        return await self.call("kf/sync_msg", {"open_kfid": KF, **body})

    async def kf_events(self) -> list[dict[str, Any]]:
        items = (await self.pull())["msg_list"]
        return [item["event"] for item in items if item["msgtype"] == "event"]

    async def upload(self, kind: str = "image", data: bytes = PNG) -> str:
        await self.call("getcallbackip")
        form = FormData()
        form.add_field("media", data, filename="a.png", content_type="application/octet-stream")
        told = await self.raw("POST", "media/upload", {"access_token": self.token, "type": kind}, form)
        media_id: str = told["media_id"]
        return media_id

    async def seen(self, who: str, chat: str = KF) -> list[str]:
        """The words in a chat on the customer's phone."""
        messages = (await self.look(f"phone/{who}/chats/{chat}/messages"))["messages"]
        return [message[message["msgtype"]].get("content", message["msgtype"]) for message in messages]

    def after(self, seconds: float) -> None:
        """Time passes; a token that may have expired meanwhile is fetched again."""
        self.simulator.advance(seconds)
        self.token = self.token if seconds < 7000 else ""

    async def settled(self) -> list[dict[str, Any]]:
        """Every callback delivered; what the service received."""
        await until(lambda: self.simulator.callbacks.pending == 0)
        return self.service.events


async def until(true: Callable[[], bool], seconds: float = 5.0) -> None:
    for _ in range(int(seconds / 0.005)):
        if true():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not happen in time")


@pytest.fixture
async def service() -> Any:
    received = Service()
    app = web.Application()
    app.router.add_get("/callback", received.verify)
    app.router.add_post("/callback", received.receive)
    server = TestServer(app)
    await server.start_server()
    received.url = str(server.make_url("/callback"))
    yield received
    await server.close()


@pytest.fixture
async def corp(aiohttp_client: AiohttpClient, service: Service) -> Corp:
    simulator = Simulator(FrozenClock(), random.Random(7), corpid=CORPID)
    simulator.roads.retry_after = 0.01
    world = simulator.world
    world.register_app(AGENTID, "私域助手", SECRET, CallbackTarget(service.url, TOKEN, AES_KEY))
    for userid, name in (("mei", "王小美"), ("qiang", "李强"), ("Lin", "林经理")):
        world.add_staff(userid, name)
    world.add_customer("安安", ANN)
    world.add_customer("波波", BOB)
    world.add_kf_account("小店客服", KF, ["mei", "qiang"])
    world.add_contact("mei", ANN)
    world.add_contact("mei", BOB)
    world.add_group("会员福利群", "mei", [ANN, BOB], "wrgroup")
    return Corp(simulator, await aiohttp_client(create_app(simulator)), service)
