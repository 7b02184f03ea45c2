"""The chat archive: its setup in the console, customers' agreements, and the SDK's two functions over HTTP."""

from typing import Any

from aiohttp import web

from bot.simulator.api.core import SIMULATOR, parse_json
from bot.simulator.control.core import Deed, Told, control, json_response
from bot.simulator.refusals import NotPossible, Refusal

MOST_TOGETHER = 1000


def add_routes(app: web.Application) -> None:
    app.router.add_get("/sim/archive", control(shown))
    app.router.add_post("/sim/archive", control(set_up))
    app.router.add_post("/sim/archive/agree", control(agree))
    app.router.add_post("/archive/chatdata", bridge)
    app.router.add_post("/archive/decrypt", bridge)


def shown(deed: Deed) -> Told:
    archive = deed.world.archive
    return {
        "on": archive.setup is not None,
        "seats": sorted(archive.setup.seats) if archive.setup else [],
        "version": archive.setup.version if archive.setup else 0,
        "kinds": archive.counted(),
    }


def set_up(deed: Deed) -> Told:
    deed.world.archive.set_up(
        deed.text("secret"), deed.text("public_key"), deed.whole("version", 1), deed.whole("agentid"),
        deed.texts("seats"),
    )  # fmt: skip
    return shown(deed)


def agree(deed: Deed) -> Told:
    deed.world.archive.agree(deed.text("chat_id"), deed.text("customer"), bool(deed.body.get("agrees", True)))
    return {}


async def bridge(request: web.Request) -> web.Response:
    """HTTP 200 with an errcode, as the vendor's own calls."""
    archive = request.app[SIMULATOR].world.archive
    try:
        setup = archive.check_secret(request.headers.get("Authorization", ""))
        body = parse_json(await request.read())
        if not isinstance(body, dict):
            raise Refusal(40058)
        if request.path.endswith("chatdata"):
            told: Told = {"chatdata": archive.chat_data(setup, _whole(body, "seq"), _whole(body, "limit"))}
        else:
            told = {"messages": [archive.decrypt(*_item(one)) for one in _items(body)]}
    except Refusal as refusal:
        return json_response({"errcode": refusal.errcode, "errmsg": refusal.errmsg})
    except (ValueError, RecursionError, NotPossible):
        return json_response({"errcode": 40058, "errmsg": "invalid Request Parameter"})
    return json_response({"errcode": 0, "errmsg": "ok", **told})


def _whole(body: dict[str, Any], name: str) -> int:
    value = body.get(name)
    if type(value) is not int or value < 0:
        raise Refusal(40058, name)
    return value


def _items(body: dict[str, Any]) -> list[Any]:
    items = body.get("items")
    if not isinstance(items, list) or len(items) > MOST_TOGETHER:
        raise Refusal(40058, "items")
    return items


def _item(one: Any) -> tuple[str, str]:
    parts = (one.get("encrypt_key"), one.get("encrypt_chat_msg")) if isinstance(one, dict) else (None, None)
    if not isinstance(parts[0], str) or not isinstance(parts[1], str):
        raise Refusal(40058, "items")
    return parts[0], parts[1]
