"""How an API call is answered: the table of calls, token and limit checks, faults, error bodies, the log."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from inspect import isawaitable
from typing import Any, Literal

from aiohttp import web

from bot.simulator.corp import App
from bot.simulator.faults import Fault
from bot.simulator.refusals import Refusal
from bot.simulator.simulator import Simulator
from bot.simulator.world import World

SIMULATOR: web.AppKey[Simulator] = web.AppKey("simulator", Simulator)
Answer = dict[str, Any]
Module = Literal["", "kf", "contacts"]
HINT = "more info at https://open.work.weixin.qq.com/devtool/query?e="
_ESCAPE = re.compile(rb"\\u(?!00[01])")  # control characters have to be escaped, the rest must not be


@dataclass(slots=True)
class Call:
    """One API call after the common checks."""

    simulator: Simulator
    request: web.Request
    app: App
    query: Mapping[str, str]
    body: dict[str, Any]

    @property
    def world(self) -> World:
        return self.simulator.world

    def url(self, path: str) -> str:
        return f"{self.simulator.origin}{path}"


Handler = Callable[[Call], Answer | web.Response | Awaitable[Answer]]  # a Response is a binary answer


@dataclass(slots=True)
class Route:
    """method: GET, POST or both; empty: what an error body carries beside errcode; json: whether the body is JSON."""

    handler: Handler
    methods: frozenset[str]
    module: Module = ""
    empty: Answer = field(default_factory=dict)
    token: bool = True
    json: bool = True


ROUTES: dict[str, Route] = {}


def get(path: str, *, module: Module = "", empty: Answer | None = None) -> Callable[[Handler], Handler]:
    return _register(path, frozenset({"GET"}), module, empty)


def post(
    path: str, *, module: Module = "", empty: Answer | None = None, json: bool = True, token: bool = True
) -> Callable[[Handler], Handler]:
    return _register(path, frozenset({"POST"}), module, empty, json, token)


def either(path: str, *, module: Module = "", empty: Answer | None = None) -> Callable[[Handler], Handler]:
    """Calls whose method changed over the years, or that SDKs send both ways."""
    return _register(path, frozenset({"GET", "POST"}), module, empty)


def open_get(path: str) -> Callable[[Handler], Handler]:
    """A call that needs no access_token."""
    return _register(path, frozenset({"GET"}), "", None, token=False)


def _register(
    path: str,
    methods: frozenset[str],
    module: Module,
    empty: Answer | None,
    json: bool = True,
    token: bool = True,
) -> Callable[[Handler], Handler]:
    def keep(handler: Handler) -> Handler:
        ROUTES[f"/cgi-bin/{path}"] = Route(handler, methods, module, empty or {}, token, json)
        return handler

    return keep


async def answer(request: web.Request) -> web.StreamResponse:
    """Every request under /cgi-bin ends here."""
    simulator, path = request.app[SIMULATOR], request.path
    route = ROUTES.get(path)
    if route is None:
        return web.Response(status=404)
    if not simulator.origin:
        simulator.origin = f"http://{request.host}"
    faults: dict[str, Fault] = {fault.kind: fault for fault in simulator.faults.draw(path)}
    for kind, broken in _BROKEN.items():
        if kind in faults:
            simulator.log.add(simulator.world.corp.now(), path, None, dict(request.query), {"fault": kind})
            return broken(request)
    response = await _logged(simulator, route, request, faults)
    return _hang_up(request) if "drop_after" in faults else response


def _hang_up(request: web.Request) -> web.Response:
    """Close the connection without an answer; the response below goes nowhere."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)


def _internal_error(request: web.Request) -> web.Response:
    return web.Response(status=500, text="Internal Server Error")


def _garbage(request: web.Request) -> web.Response:
    return web.Response(text="<html>502 Bad Gateway</html>", content_type="text/html")


_BROKEN = {"drop_before": _hang_up, "http500": _internal_error, "garbage": _garbage}


async def _logged(
    simulator: Simulator, route: Route, request: web.Request, faults: Mapping[str, Fault]
) -> web.StreamResponse:
    asked: Any = None
    app: App | None = None
    try:
        app = simulator.tokens.check(request.query.get("access_token")) if route.token else None
        with simulator.limits.counted(request.path, simulator.world.corp.now()):
            await _scripted(faults)
            asked = await _read(request, route, simulator)
            told = await _run(simulator, route, request, app, asked)
    except Refusal as refusal:
        told = refused(refusal, route.empty, request.remote or "")
    query = {name: value for name, value in request.query.items() if name != "access_token"}
    simulator.log.add(
        simulator.world.corp.now(),
        request.path,
        app.agentid if app else None,
        {**query, **asked} if asked else query,
        told if isinstance(told, dict) else {"content_type": told.content_type},
    )
    return to_json(told) if isinstance(told, dict) else told


async def _scripted(faults: Mapping[str, Fault]) -> None:
    if fault := faults.get("latency"):
        await asyncio.sleep(fault.seconds)
    if fault := faults.get("errcode"):
        raise Refusal(fault.errcode, "scripted")


async def _read(request: web.Request, route: Route, simulator: Simulator) -> dict[str, Any]:
    if request.method not in route.methods:
        raise Refusal(40063, "wrong HTTP method")
    if request.method == "GET" or not route.json:
        return {}
    raw = await request.read()
    if not raw:
        return {}
    if simulator.options.refuse_escapes and _ESCAPE.search(raw):
        raise Refusal(40033, r"\u escapes are not allowed")
    try:
        body = parse_json(raw)
    except (ValueError, RecursionError) as broken:
        raise Refusal(40058, "Warning: wrong json format.") from broken
    if not isinstance(body, dict):
        raise Refusal(40058, "body must be a JSON object")
    return body


def parse_json(raw: bytes) -> Any:
    """JSON as the standard has it: without NaN and Infinity."""
    return json.loads(raw, parse_constant=_not_json)


def _not_json(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


NOBODY = App(0, "", "")


async def _run(
    simulator: Simulator, route: Route, request: web.Request, app: App | None, body: dict[str, Any]
) -> Answer | web.Response:
    if app and ((route.module == "kf" and not app.kf) or (route.module == "contacts" and not app.contacts)):
        raise Refusal(48002)
    told = route.handler(Call(simulator, request, app or NOBODY, request.query, body))
    if isawaitable(told):
        told = await told
    return {"errcode": 0, "errmsg": "ok", **told} if isinstance(told, dict) else told


def refused(refusal: Refusal, empty: Answer, address: str) -> Answer:
    if refusal.errcode == 40014:  # seen bare in the wild
        errmsg = refusal.errmsg
    else:
        errmsg = f"{refusal.errmsg}, hint: [1], from ip: {address}, {HINT}{refusal.errcode}"
    return {"errcode": refusal.errcode, "errmsg": errmsg, **empty}


def to_json(told: Answer) -> web.Response:
    try:
        body = json.dumps(told, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # half a surrogate pair travels only as an escape
        body = json.dumps(told).encode()
    return web.Response(body=body, content_type="application/json")
