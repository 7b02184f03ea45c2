"""/sim: the clock, faults, callbacks, tokens, limits, the call log, and the apps' callback settings."""

from dataclasses import asdict
from typing import Any

from aiohttp import web

from bot.simulator.callbacks import counters
from bot.simulator.control.core import Deed, Told, control
from bot.simulator.corp import CallbackTarget
from bot.simulator.faults import Fault
from bot.simulator.refusals import NotPossible, Unknown
from bot.simulator.simulator import KEPT_CALLS

MOST_FAILING = 10_000


def add_routes(app: web.Application) -> None:
    add_get, add_post = app.router.add_get, app.router.add_post
    add_get("/sim/clock", control(clock))
    add_post("/sim/clock", control(push_clock))
    add_get("/sim/faults", control(faults))
    add_post("/sim/faults", control(add_fault))
    app.router.add_delete("/sim/faults", control(clear_faults))
    add_get("/sim/callbacks", control(callbacks))
    add_post("/sim/callbacks", control(change_callbacks))
    add_post("/sim/tokens", control(spoil_tokens))
    add_get("/sim/limits", control(limits))
    add_post("/sim/limits", control(set_limits))
    add_get("/sim/log", control(log))
    add_get("/sim/corp", control(corp))
    add_post("/sim/apps/{agentid}/callback", control(save_callback))
    add_get("/sim/media/{media_id}", media)


def clock(deed: Deed) -> Told:
    now = deed.simulator.clock.now()
    return {"now": now.timestamp(), "iso": now.isoformat()}


def push_clock(deed: Deed) -> Told:
    deed.simulator.advance(deed.number("advance"))
    return clock(deed)


def faults(deed: Deed) -> Told:
    return {"faults": [asdict(fault) for fault in deed.simulator.faults.active]}


def add_fault(deed: Deed) -> Told:
    if deed.body.get("kind") == "msg_send_fail":
        times = min(deed.whole("times", 1), MOST_FAILING)
        deed.world.kf_bot.failing += [(deed.whole("fail_type", 0), deed.number("seconds", 0))] * times
        return faults(deed)
    kind: Any = deed.text("kind")
    fault = Fault(
        deed.text("path", "*"),
        kind,
        deed.whole("errcode", -1),
        deed.number("seconds", 0),
        deed.whole("times", 1),
        deed.number("probability", 1),
    )
    deed.simulator.faults.add(fault)
    return faults(deed)


def clear_faults(deed: Deed) -> Told:
    deed.simulator.faults.clear()
    deed.world.kf_bot.failing.clear()
    return faults(deed)


def callbacks(deed: Deed) -> Told:
    return {**asdict(deed.simulator.roads), **counters(deed.simulator.callbacks)}


def change_callbacks(deed: Deed) -> Told:
    deed.simulator.roads.change(deed.body)
    return callbacks(deed)


def spoil_tokens(deed: Deed) -> Told:
    agentid = deed.whole("agentid") if deed.body.get("agentid") is not None else None
    actions = {"expire": deed.simulator.tokens.expire, "revoke": deed.simulator.tokens.revoke}
    if deed.text("action") not in actions:
        raise NotPossible("action 要是 expire 或 revoke")
    actions[deed.text("action")](agentid)
    return {}


def limits(deed: Deed) -> Told:
    return {"per_minute": deed.simulator.limits.per_minute, "in_flight": deed.simulator.limits.in_flight}


def set_limits(deed: Deed) -> Told:
    for name in ("per_minute", "in_flight"):
        wanted = deed.body.get(name, {})
        if not isinstance(wanted, dict) or not all(isinstance(most, int) and most >= 0 for most in wanted.values()):
            raise NotPossible(f"{name} 要是 路径到次数 的对照")
        if name in deed.body:
            setattr(deed.simulator.limits, name, dict(wanted))
    return limits(deed)


def log(deed: Deed) -> Told:
    """Calls after `after`, of one `path` if asked, at most the newest `limit`."""
    path, after, limit = deed.query.get("path", ""), deed.integer("after", 0), deed.integer("limit", KEPT_CALLS)
    calls = [call for call in deed.simulator.log.calls if call.seq > after and (not path or call.path == path)]
    return {"calls": [asdict(call) for call in calls[-max(limit, 1) :]]}


def corp(deed: Deed) -> Told:
    apps = [
        {
            "agentid": app.agentid,
            "name": app.name,
            "callback_url": app.callback.url if app.callback else "",
            "kf": app.kf,
            "contacts": app.contacts,
        }
        for app in deed.world.corp.apps.values()
    ]
    return {"corpid": deed.world.corp.corpid, "apps": apps}


async def save_callback(deed: Deed) -> Told:
    """What saving the settings page does: verify first, keep only if the service answers right."""
    app = deed.world.corp.apps.get(int(deed.path["agentid"])) if deed.path["agentid"].isdigit() else None
    if app is None:
        raise Unknown("没有这个应用")
    target = CallbackTarget(deed.text("url"), deed.text("token"), deed.text("aes_key"))
    await deed.simulator.callbacks.verify(app, target)
    app.callback = target
    return {"agentid": app.agentid, "callback_url": target.url}


async def media(request: web.Request) -> web.Response:
    deed = Deed(request, {})
    try:
        material = deed.world.media.show(deed.path["media_id"])
    except NotPossible:
        return web.Response(status=404)
    return web.Response(body=material.data, content_type=material.content_type)
