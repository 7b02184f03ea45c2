"""The limit of a round trip: a bot that makes the same calls as ours, keeps nothing and knows one answer."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp import web

from benchmarks.street import AES_KEY, CORPID, KF, SECRET, TOKEN
from bot.wecom import event_xml
from bot.wecom.crypto import Envelope

SIDE_BY_SIDE = 32  # as our sender on the kf lane
PAGE = 1000


class BareBot:
    """callback -> sync_msg -> send_msg, over HTTP, from memory."""

    def __init__(self, http: aiohttp.ClientSession, wecom: str, token: str) -> None:
        self._http, self._wecom, self._token = http, wecom, token
        self._envelope = Envelope(TOKEN, AES_KEY, CORPID)
        self._cursor = ""
        self._news = asyncio.Event()
        self._places = asyncio.Semaphore(SIDE_BY_SIDE)
        self._serial = itertools.count()
        self._sending: set[asyncio.Task[Any]] = set()
        self.port = 0

    def where(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    async def told(self, request: web.Request) -> web.Response:
        query = request.query
        content = self._envelope.open(await request.read(), query["msg_signature"], query["timestamp"], query["nonce"])
        event_xml.parse_event(content)
        self._news.set()
        return web.Response(text="success")

    async def run(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            more = 1
            while more:
                page = await self._call("kf/sync_msg", {"open_kfid": KF, "cursor": self._cursor, "limit": PAGE})
                self._cursor, more = page["next_cursor"], page["has_more"]
                for message in page["msg_list"]:
                    if message.get("origin") == 3:
                        await self._places.acquire()
                        task = asyncio.create_task(self._answer(message["external_userid"]))
                        self._sending.add(task)
                        task.add_done_callback(self._sending.discard)

    async def _answer(self, customer: str) -> None:
        try:
            text = {"content": "【发货】付款后 48 小时内发出。"}
            message = {"touser": customer, "open_kfid": KF, "msgtype": "text", "text": text}
            await self._call("kf/send_msg", {**message, "msgid": f"bare{next(self._serial)}"})
        finally:
            self._places.release()

    async def _call(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        return await post(self._http, f"{self._wecom}/cgi-bin/{name}?access_token={self._token}", body)


async def post(http: aiohttp.ClientSession, url: str, body: dict[str, Any]) -> dict[str, Any]:
    async with http.post(url, json=body) as answer:
        found: dict[str, Any] = await answer.json()
    if found.get("errcode"):
        raise RuntimeError(str(found))
    return found


@asynccontextmanager
async def bare_bot(wecom: str) -> AsyncIterator[BareBot]:
    async with aiohttp.ClientSession(json_serialize=_readable) as http:
        async with http.get(f"{wecom}/cgi-bin/gettoken", params={"corpid": CORPID, "corpsecret": SECRET}) as answer:
            token = (await answer.json())["access_token"]
        bot = BareBot(http, wecom, token)
        app = web.Application()
        app.router.add_post("/", bot.told)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        bot.port = runner.addresses[0][1]
        running = asyncio.create_task(bot.run())
        try:
            yield bot
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await runner.cleanup()


def _readable(body: Any) -> str:
    import json

    return json.dumps(body, ensure_ascii=False)
