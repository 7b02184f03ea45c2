"""Claims over HTTP by known visitors, against the same server that grants without claiming; and what is sold out."""

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import cast
from urllib.parse import urlencode

from aiohttp import web

from benchmarks.child import Child
from benchmarks.flashsale import STOCK, Members, item_plan, people
from benchmarks.flashsale_ways import PRICE_FEN
from benchmarks.ground import DATABASES, database, shop
from benchmarks.load import Answers, storm
from benchmarks.report import Report, Row, command, median, percentile, say
from bot.bootstrap import Service, running
from bot.flashsale import sales
from bot.flashsale.allocator import Allocator
from bot.flashsale.sales import Plan
from bot.flashsale.terms import Granted, Request
from bot.simulator.__main__ import SECRET
from bot.web.h5 import PayPage, SalePages
from bot.web.h5_site import MemberSite
from bot.web.seals import Seals
from bot.web.server import create_app
from bot.web.visitors import COOKIE, STAY, Visitors
from crm.base.clock import SystemClock


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    rounds: int
    claims: int  # of one round
    refusals: int
    connections: int = 128
    databases: tuple[str, ...] = DATABASES


FULL = Size(5, 4_000, 20_000)
QUICK = Size(2, 1_000, 20_000)


class Generous:
    """Grants everything and keeps nothing: what is left is HTTP, the visitor, and what the sale makes of them."""

    def is_gone(self, _item_id: int, _member_id: int) -> bool:
        return False

    async def claim(self, request: Request) -> Granted:
        due = SystemClock().now() + timedelta(minutes=15)
        return Granted(request.no, request.item_id, request.quantity, PRICE_FEN, due)


class Counter:
    """The service, and on two more ports: the same pages over a generous allocator, and one that knows only no."""

    def __init__(self, service: Service, generous: int, says_no: int) -> None:
        self._service, self._ports = service, (service.port, generous, says_no)

    async def set_up(self, members: int) -> tuple[str, tuple[int, ...]]:
        """Members 1 … n of long ago and a sale that is open; its code, and the three ports."""
        sessions, now = self._service.app.sessions, self._service.app.clock.now()
        async with sessions.begin() as session:
            await session.execute(people(session.get_bind().dialect.name, members, now - timedelta(days=90)))
            items = [item_plan("A1", STOCK), item_plan("A2", 1)]
            plan = Plan(name="秒杀", opens_at=now, closes_at=now + timedelta(hours=2), items=items)
            sale = await sales.plan(session, plan, now=now, chance=random.Random(7))
            await sales.announce(session, sale.id)
        return sale.code, self._ports


@asynccontextmanager
async def server(database_url: str) -> AsyncIterator[Counter]:
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(running(shop(database_url), works=False))
        app, main = service.app, service.settings.apps["main"]
        visitors = Visitors(
            app,
            service.client.staff,
            secret=main.secret.get_secret_value().encode(),
            authorize_url="",
            corp_id="",
            agent_id=1,
        )
        site = MemberSite(app, visitors)
        pages = SalePages(site, cast(Allocator, Generous()), service.newcomers, PayPage(None))
        generous = await _listening(stack, create_app(app, [*site.routes(), *pages.routes()]))
        no = web.Application()
        no.router.add_post("/h5/sales/{code}/claim", _no)
        yield Counter(service, generous, await _listening(stack, no))


async def _no(request: web.Request) -> web.Response:
    await request.post()
    return web.json_response({"ok": False, "code": "sale.sold_out", "said": "抢光了", "key": ""}, status=409)


async def _listening(stack: AsyncExitStack, app: web.Application) -> int:
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return int(runner.addresses[0][1])


class Phones:
    """Signed-in members who send the form of the page."""

    def __init__(self) -> None:
        self._clock = SystemClock()
        self._seals = Seals(SECRET.encode(), self._clock, about="siyu visitors")

    async def claim(self, port: int, code: str, item: str, members: Sequence[int], connections: int) -> Answers:
        """Each of these sends one form; over so many connections, as fast as they are answered."""
        requests = [self._form(port, code, item, member) for member in members]
        return await storm(port, requests, min(connections, len(requests)), self._clock)

    def _form(self, port: int, code: str, item: str, member: int) -> bytes:
        cookie = self._seals.seal({"member": member}, STAY)
        until = (self._seals.open(cookie) or {})["until"]
        token = self._seals.mac(f"form:{member}:{until}")
        body = urlencode({"token": token, "item": item, "key": f"{port}-{member}"}).encode()
        head = (
            f"POST /h5/sales/{code}/claim HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: application/json\r\n"
            f"Cookie: {COOKIE}={cookie}\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        )
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


@asynccontextmanager
async def phones() -> AsyncIterator[Phones]:
    yield Phones()


def measure(quick: bool, size: Size | None = None) -> Report:
    report = Report("flashsale_http")
    size = size or (QUICK if quick else FULL)
    for kind in size.databases:
        with database(kind) as url, Child(server, url) as served, Child(phones) as crowd:
            report.rows += _compare(kind, served, crowd, size)
    return report


def _compare(kind: str, served: Child, crowd: Child, size: Size) -> list[Row]:
    everybody = (size.rounds + 1) * size.claims
    code, ports = served.ask("set_up", everybody)
    hands = Members()
    found: tuple[list[Answers], list[Answers]] = ([], [])
    for number in range(size.rounds + 1):  # the first warms up
        members = hands.take(size.claims)
        for which in (0, 1) if number % 2 else (1, 0):
            answers = _all(200, crowd.ask("claim", ports[which], code, "A1", members, size.connections))
            found[which].extend([answers] if number else [])
    ours, limit = ([_figures(one) for one in rounds] for rounds in found)
    rows = [
        Row(f"{kind}, claims over HTTP; limit: granted without claiming", "1/s", _middle(ours, 0), _middle(limit, 0)),
        Row(f"{kind}, p99 of a claim over HTTP; limit: the same", "ms", _middle(ours, 1), _middle(limit, 1)),
    ]
    say(f"{kind}: {rows[0].ours:,.0f}/s of {rows[0].limit or 0:,.0f}/s over HTTP")
    return [*rows, *_sold_out(kind, code, ports, crowd, size, everybody)]


def _sold_out(kind: str, code: str, ports: Sequence[int], crowd: Child, size: Size, everybody: int) -> list[Row]:
    """One has the only unit; everybody else is told from memory, each some times."""
    crowd.ask("claim", ports[0], code, "A2", [1], 1)
    members = [2 + number % (everybody - 1) for number in range(size.refusals)]
    limit = _figures(_all(409, crowd.ask("claim", ports[2], code, "A2", members, size.connections)))
    crowd.ask("claim", ports[0], code, "A2", [2], 1)
    ours = _figures(_all(409, crowd.ask("claim", ports[0], code, "A2", members, size.connections)))
    return [
        Row(f"{kind}, sold out over HTTP; limit: a handler that knows only no", "1/s", ours[0], limit[0]),
        Row(f"{kind}, p99 of that refusal; limit: the same", "ms", ours[1], limit[1]),
    ]


def _all(status: int, answers: Answers) -> Answers:
    if set(answers.statuses) != {status}:
        raise RuntimeError(f"not all were {status}: {dict(answers.statuses)}")
    return answers


def _figures(answers: Answers) -> tuple[float, float]:
    return answers.per_second, percentile(answers.latencies, 99) * 1000


def _middle(rounds: Sequence[tuple[float, float]], place: int) -> float:
    return median([one[place] for one in rounds])


if __name__ == "__main__":
    command(measure, __doc__ or "")
