"""How many callbacks one process takes in durably, against the same server that forgets them."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

from benchmarks.child import Child
from benchmarks.ground import DATABASES, database, shop
from benchmarks.load import Answers, generator
from benchmarks.report import Report, Row, command, median, percentile, say
from bot.bootstrap import running
from bot.simulator.__main__ import AES_KEY, CORPID, TOKEN
from bot.web.server import create_app
from bot.wecom.callback import CallbackView, Delivery, Inbox, Outcome
from bot.wecom.crypto import Envelope

PATH = "/wecom/callback/main"


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    connections: tuple[int, ...]
    rounds: int
    callbacks: int  # of one round
    databases: tuple[str, ...] = DATABASES


FULL = Size((1, 16, 64, 256), 7, 6_000)
QUICK = Size((16, 64), 3, 2_000)


class Forgetful(Inbox):
    """Accepts everything and keeps nothing: what is left is HTTP, decryption and parsing."""

    async def put(self, delivery: Delivery) -> Outcome:
        return Outcome.STORED


@dataclass(frozen=True, slots=True)
class Ports:
    """One process, two doors: callbacks are kept behind one and forgotten behind the other."""

    keeps: int
    forgets: int

    def both(self) -> tuple[int, int]:
        return self.keeps, self.forgets


@asynccontextmanager
async def server(database_url: str) -> AsyncIterator[Ports]:
    """The service that only takes callbacks in, and beside it the limit."""
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(running(shop(database_url), works=False))
        app = service.app
        envelopes = {"main": Envelope(TOKEN, AES_KEY, CORPID)}
        view = CallbackView(envelopes, Forgetful(app.sessions, app.peers), app.clock)
        runner = web.AppRunner(create_app(app, view.routes()), access_log=None)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield Ports(service.port, runner.addresses[0][1])


def measure(quick: bool, size: Size | None = None) -> Report:
    report = Report("callbacks")
    size = size or (QUICK if quick else FULL)
    for kind in size.databases:
        with database(kind) as url, Child(server, url) as served, Child(generator) as sender:
            keeps, forgets = served.ask("both")
            for connections in size.connections:
                report.rows += _level(kind, connections, size, sender, served, (keeps, forgets))
    return report


def _level(kind: str, connections: int, size: Size, sender: Child, served: Child, ports: tuple[int, int]) -> list[Row]:
    found: tuple[list[Answers], list[Answers]] = ([], [])
    cpu = [0.0, 0.0]
    for number in range(size.rounds + 1):
        sender.ask("seal", size.callbacks)
        for which in (0, 1) if number % 2 else (1, 0):
            before = served.cpu_seconds()
            found[which].append(_checked(sender.ask("deliver", ports[which], PATH, connections)))
            cpu[which] += served.cpu_seconds() - before
    ours, limit = (
        [*_middle(rounds), used / size.callbacks / len(rounds) * 1e6] for rounds, used in zip(found, cpu, strict=True)
    )
    say(f"{kind}, {connections} connections: {ours[0]:.0f}/s of {limit[0]:.0f}/s")
    names = (("accepted", "1/s"), ("p50", "ms"), ("p99", "ms"), ("processor", "µs"))
    where = f"{kind}, {connections} connection{'s' if connections > 1 else ''}"
    return [
        Row(f"{where}: {name}", unit, mine, theirs)
        for (name, unit), mine, theirs in zip(names, ours, limit, strict=True)
    ]


def _checked(answers: Answers) -> Answers:
    if set(answers.statuses) != {200}:
        raise RuntimeError(f"not all were accepted: {dict(answers.statuses)}")
    return answers


def _middle(rounds: list[Answers]) -> tuple[float, float, float]:
    """Medians over the rounds, without the first, which warms up."""
    counted = rounds[1:]
    return (
        median([one.per_second for one in counted]),
        median([percentile(one.latencies, 50) for one in counted]) * 1000,
        median([percentile(one.latencies, 99) for one in counted]) * 1000,
    )


if __name__ == "__main__":
    command(measure, __doc__ or "")
