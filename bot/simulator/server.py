"""The HTTP server: the vendor's API, the control interface and the pages on one port."""

import importlib

from aiohttp import web

from bot.simulator.api import aibots, basics, bills, contacts, groups, kf, messages, msgaudit, tags, tasks
from bot.simulator.api.core import ROUTES, SIMULATOR, answer
from bot.simulator.control import admin, archive, bots, console, phone, staff, till, visits
from bot.simulator.simulator import Simulator

MAX_BODY = 32 * 1024 * 1024
API = (aibots, basics, bills, contacts, groups, kf, messages, msgaudit, tags, tasks)  # importing them fills ROUTES


def create_app(simulator: Simulator) -> web.Application:
    """The simulator as an aiohttp application; starting and stopping it starts and stops callback delivery."""
    assert ROUTES, API
    app = web.Application(client_max_size=MAX_BODY)
    app[SIMULATOR] = simulator
    app.router.add_route("*", "/cgi-bin/{call:.*}", answer)
    for area in (phone, staff, bots, archive, console, admin, visits, till):
        area.add_routes(app)
    _add_pages(app)
    app.on_startup.append(_start)
    app.on_shutdown.append(_stop)
    return app


def _add_pages(app: web.Application) -> None:
    try:
        pages = importlib.import_module("bot.simulator.pages")
    except ModuleNotFoundError:
        return
    pages.add_pages(app)


async def _start(app: web.Application) -> None:
    await app[SIMULATOR].start()


async def _stop(app: web.Application) -> None:
    await app[SIMULATOR].stop()


async def serve(simulator: Simulator, host: str = "127.0.0.1", port: int = 8090) -> web.AppRunner:
    """Start listening; the caller cleans the returned runner up."""
    runner = web.AppRunner(create_app(simulator), access_log=None, shutdown_timeout=2.0)
    await runner.setup()
    simulator.origin = simulator.origin or f"http://{host}:{port}"
    await web.TCPSite(runner, host, port).start()
    return runner


def run(simulator: Simulator, host: str = "127.0.0.1", port: int = 8090) -> None:
    """Serve until Ctrl-C."""
    simulator.origin = simulator.origin or f"http://{host}:{port}"
    web.run_app(create_app(simulator), host=host, port=port, print=None, access_log=None, shutdown_timeout=2.0)
