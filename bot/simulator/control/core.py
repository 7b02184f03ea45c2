"""How a control request is answered: JSON in and out, refusals as Chinese sentences, live streams."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from bot.simulator.api.core import SIMULATOR, parse_json
from bot.simulator.feed import Feed
from bot.simulator.refusals import NotPossible, Refusal, Unknown
from bot.simulator.simulator import Simulator

PING_SECONDS = 15.0
MOST = 10**9  # no number a person types here is larger; a billion seconds are 31 years
Told = dict[str, Any]
Control = Callable[["Deed"], Told | Awaitable[Told]]


class Deed:
    """One control request: the simulator, the names in the path, the query, and the JSON body."""

    def __init__(self, request: web.Request, body: dict[str, Any]) -> None:
        self.request = request
        self.simulator: Simulator = request.app[SIMULATOR]
        self.world = self.simulator.world
        self.path = request.match_info
        self.query = request.query
        self.body = body

    def text(self, key: str, default: str | None = None) -> str:
        value = self.body.get(key, default)
        if not isinstance(value, str) or (default is None and not value):
            raise NotPossible(f"缺少 {key}")
        return value

    def texts(self, key: str) -> list[str]:
        value = self.body.get(key) or []
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise NotPossible(f"{key} 要是一组文字")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        value = self.body.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > MOST:
            raise NotPossible(f"{key} 要是不太大的数字")
        return value

    def whole(self, key: str, default: int | None = None) -> int:
        value = self.number(key, default)
        if value != int(value):
            raise NotPossible(f"{key} 要是整数")
        return int(value)

    def message(self) -> tuple[str, dict[str, Any]]:
        """(msgtype, payload) of a message somebody writes; msgtype may be left out for text."""
        msgtype = self.text("msgtype", "text")
        payload = self.body.get(msgtype)
        if not isinstance(payload, dict):
            raise NotPossible(f"缺少 {msgtype}")
        if msgtype == "text" and not str(payload.get("content") or "").strip():
            raise NotPossible("不能发送空白消息")
        return msgtype, payload

    def integer(self, key: str, default: int) -> int:
        """A whole number from the query."""
        try:
            return int(self.query.get(key, default))
        except ValueError:
            raise NotPossible(f"{key} 要是整数") from None


def control(deed: Control) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """An aiohttp handler around a deed."""

    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            told = deed(Deed(request, await _body(request)))
            return json_response(await told if isinstance(told, Awaitable) else told)
        except NotPossible as refusal:
            return json_response({"error": str(refusal)}, status=404 if isinstance(refusal, Unknown) else 400)
        except Refusal as refusal:
            return json_response({"error": f"做不到：{refusal.errmsg}", "errcode": refusal.errcode}, status=400)

    return answer


async def _body(request: web.Request) -> dict[str, Any]:
    if not request.can_read_body or request.content_type.startswith("multipart/"):
        return {}
    try:
        body = parse_json(await request.read() or b"{}")
    except (ValueError, RecursionError):
        raise NotPossible("请求要是 JSON") from None
    if not isinstance(body, dict):
        raise NotPossible("请求要是一个 JSON 对象")
    return body


def json_response(told: Told, status: int = 200) -> web.Response:
    body = json.dumps(told, ensure_ascii=False).encode()
    return web.Response(body=body, status=status, content_type="application/json")


async def stream(request: web.Request, feed: Feed, channel: str) -> web.StreamResponse:
    """Server-sent events of one channel until the page or the simulator goes away."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
    await response.prepare(request)
    queue = feed.subscribe(channel)
    try:
        await response.write(b": hello\n\n")
        while True:
            try:
                news = await asyncio.wait_for(queue.get(), PING_SECONDS)
            except TimeoutError:
                await response.write(b": ping\n\n")
                continue
            if news is None:
                break
            event, data = news
            await response.write(f"event: {event}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode())
    except ConnectionError:
        pass
    finally:
        feed.unsubscribe(channel, queue)
    with contextlib.suppress(ConnectionError):
        await response.write_eof()
    return response
