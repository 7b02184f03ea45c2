"""Routes, middlewares, error pages, health: one aiohttp application for everything the service serves."""

import logging
from collections.abc import Awaitable, Callable, Sequence

import sqlalchemy as sa
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy.exc import SQLAlchemyError

from bot.app import App
from bot.web import auth, desk, screens, status
from bot.web.console import every, sale_board
from bot.web.house import HOUSE, House
from bot.web.kept import KEPT, Kept
from crm.base.errors import Busy, ShopError

log = logging.getLogger(__name__)

APP = web.AppKey("app", App)
Respond = Callable[[web.Request], Awaitable[web.StreamResponse]]


LARGEST_FORM = 8 * 1024 * 1024  # bytes


def create_app(app: App, routes: Sequence[web.AbstractRouteDef], house: House | None = None) -> web.Application:
    """The application: `routes` are the callbacks', the API's and the members' pages; with a house also the staff's."""
    site = web.Application(middlewares=[errors], client_max_size=LARGEST_FORM)
    site[APP] = app
    site.add_routes(
        [web.get("/healthz", alive), web.get("/readyz", ready), web.get("/metrics", metrics), web.get("/", front)]
    )
    site.add_routes(routes)
    if house is not None:
        site[HOUSE], site[desk.LIVE], site[KEPT] = house, desk.live_of(app), Kept(app.clock)
        site[sale_board.LIVE] = sale_board.live_of(app)
        site.on_shutdown.append(_let_browsers_go)
        site.add_routes([*auth.routes(), web.get("/static/{name:.+}", screens.file)])
        for one in every.ALL:
            site.add_routes(one.routes())
    return site


async def _let_browsers_go(site: web.Application) -> None:
    """Before the server waits for its answers to end: live ones never would."""
    await site[desk.LIVE].stop()
    await site[sale_board.LIVE].stop()


@web.middleware
async def errors(request: web.Request, handler: Respond) -> web.StreamResponse:
    """A planned refusal is its status; a bug is a plain 500 whose traceback stays in the log."""
    try:
        return await handler(request)
    except web.HTTPException:
        raise
    except ShopError as refusal:
        log.info("http.refused", extra={"path": request.path, "code": refusal.code})
        headers = {"Retry-After": f"{refusal.retry_after:.0f}"} if isinstance(refusal, Busy) else None
        return web.json_response({"error": refusal.code}, status=refusal.status, headers=headers)
    except Exception:
        log.exception("http.failed", extra={"path": request.path})
        return web.json_response({"error": "internal"}, status=500)


async def alive(_request: web.Request) -> web.Response:
    """The process answers."""
    return web.Response(text="ok")


async def ready(request: web.Request) -> web.Response:
    """The database answers too."""
    try:
        async with request.app[APP].sessions.read() as session:
            await session.execute(sa.text("SELECT 1"))
    except (SQLAlchemyError, OSError) as error:
        log.warning("http.not_ready", extra={"error": str(error)})
        return web.Response(status=503, text="database unavailable")
    return web.Response(text="ok")


async def metrics(request: web.Request) -> web.Response:
    """For Prometheus on this machine."""
    _only_here(request)
    return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})


async def front(request: web.Request) -> web.Response:
    """A glance for whoever runs it: is everything moving, is anything stuck."""
    _only_here(request)
    return web.Response(text=await status.page(request.app[APP]), content_type="text/html")


def _only_here(request: web.Request) -> None:
    """The shop's figures are for this machine: a proxy's visitors are somebody else, whatever address it comes from."""
    forwarded = any(name in request.headers for name in ("X-Forwarded-For", "Forwarded", "X-Real-IP"))
    if forwarded or request.remote not in {"127.0.0.1", "::1"}:
        raise web.HTTPNotFound
