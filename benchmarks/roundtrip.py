"""From the customer's word to the reply on the phone: alone, at a steady rate, and how fast a backlog is worked off.

The limiter that keeps us inside WeCom's 10,000 calls a minute is opened wide: it would be the figure otherwise.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass

from benchmarks.barebot import bare_bot
from benchmarks.child import Child
from benchmarks.ground import DATABASES, database, shop
from benchmarks.report import Report, Row, command, median, percentile, say
from benchmarks.street import flat, spread, street
from bot.bootstrap import running
from bot.wecom.limits import USUAL, Limiter, Rate
from crm.base.clock import SystemClock


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    rounds: int
    alone: int  # words of one round, one after the other
    rates: tuple[int, ...]  # words a second
    seconds: int  # of a round at such a rate
    backlog: int  # words of one round, one a customer
    databases: tuple[str, ...] = DATABASES

    @property
    def customers(self) -> int:
        """Enough that nobody asks twice in a round: a second question before the first answer shares its answer."""
        return max(10, *(rate * self.seconds for rate in self.rates))


FULL = Size(rounds=5, alone=100, rates=(20, 100), seconds=10, backlog=2_500)
QUICK = Size(rounds=1, alone=40, rates=(20,), seconds=3, backlog=400)


@dataclass(frozen=True, slots=True)
class Place:
    """A bot and the street it serves."""

    street: Child
    bot: Child
    callback: str

    def ask(self, name: str, *arguments: object) -> list[float]:
        found: list[float] = self.street.ask(name, *arguments)
        return found

    def work_off(self, customers: list[str]) -> float:
        """Words a second."""
        seconds: float = self.street.ask("ask_behind_closed_doors", customers, self.callback)
        return len(customers) / seconds


class Served:
    """The running service."""

    def __init__(self, port: int) -> None:
        self._port = port

    def where(self) -> str:
        return f"http://127.0.0.1:{self._port}/wecom/callback/main"


@asynccontextmanager
async def service(database_url: str, wecom: str) -> AsyncIterator[Served]:
    """The whole of Siyu in one process, without the vendor's limits."""
    clock = SystemClock()
    wide = tuple(Rate(10_000_000, one.seconds) for one in USUAL)
    limiter = Limiter(clock, rates=Generous(wide))
    async with running(shop(database_url, wecom), clock=clock, limiter=limiter) as started:
        yield Served(started.port)


class Generous(dict[str, tuple[Rate, ...]]):
    """Every path has the same wide limit."""

    def __init__(self, rates: tuple[Rate, ...]) -> None:
        super().__init__()
        self._rates = rates

    def get(self, _path: str, _default: object = None) -> tuple[Rate, ...]:
        return self._rates


@contextmanager
def places(kind: str) -> Iterator[tuple[Place, Place]]:
    """Ours and the limit's, four processes of which two rest while the others are measured."""
    with ExitStack() as stack:
        url = stack.enter_context(database(kind))
        streets = [stack.enter_context(Child(street)) for _ in range(2)]
        ours, bare = (one.ask("address") for one in streets)
        bots = [stack.enter_context(Child(service, url, ours)), stack.enter_context(Child(bare_bot, bare))]
        found = [Place(one, bot, bot.ask("where")) for one, bot in zip(streets, bots, strict=True)]
        for place in found:
            place.street.ask("deliver_to", place.callback)
        yield found[0], found[1]


def measure(quick: bool, size: Size | None = None) -> Report:
    report = Report("roundtrip")
    size = size or (QUICK if quick else FULL)
    for kind in size.databases:
        with places(kind) as both:
            report.rows += _measured(kind, both, size)
    return report


def _measured(kind: str, both: tuple[Place, Place], size: Size) -> list[Row]:
    regulars = {place.callback: place.street.ask("arrive", size.customers) for place in both}
    for place in both:  # the first words are not measured
        place.ask("ask_in_turn", regulars[place.callback][:10])
        place.work_off(regulars[place.callback])

    def alone(place: Place) -> list[float]:
        return place.ask("ask_in_turn", spread(regulars[place.callback], size.alone))

    def newcomers(place: Place) -> list[float]:
        return place.ask("ask_in_turn", place.street.ask("arrive", size.alone))

    rows = _times(f"{kind}, alone", _rounds(both, alone, size.rounds))
    rows += _times(f"{kind}, alone, first words", _rounds(both, newcomers, size.rounds))
    for rate in size.rates:

        def steadily(place: Place, rate: int = rate) -> list[float]:
            return place.ask("ask_steadily", regulars[place.callback][: rate * size.seconds], rate)

        rows += _times(f"{kind}, {rate} a second", _rounds(both, steadily, size.rounds))
    return rows + _backlogs(kind, both, size)


def _backlogs(kind: str, both: tuple[Place, Place], size: Size) -> list[Row]:
    """Each round's newcomers are the next measurement's regulars."""
    crowds: dict[str, list[str]] = {}

    def newcomers(place: Place) -> list[float]:
        place.street.ask("leave")
        crowds[place.callback] = place.street.ask("arrive", size.backlog)
        return [place.work_off(crowds[place.callback])]

    def regulars(place: Place) -> list[float]:
        return [place.work_off(crowds[place.callback])]

    rows = []
    for who, work in (("newcomers", newcomers), ("regulars", regulars)):
        before = [place.bot.cpu_seconds() for place in both]
        ours, limit = (median(flat(rounds)) for rounds in _rounds(both, work, size.rounds))
        used = [place.bot.cpu_seconds() - since for place, since in zip(both, before, strict=True)]
        cpu = [seconds / (size.rounds * size.backlog) * 1000 for seconds in used]
        rows.append(Row(f"{kind}, backlog of {who}", "messages/s", ours, limit))
        rows.append(Row(f"{kind}, backlog of {who}: processor", "ms", cpu[0], cpu[1]))
        say(f"{kind}, backlog of {who}: {ours:.0f}/s of {limit:.0f}/s")
    return rows


def _rounds(
    both: tuple[Place, Place], one: Callable[[Place], list[float]], count: int
) -> tuple[list[list[float]], list[list[float]]]:
    """Interleaved, so that what else the machine does falls on both."""
    found: Mapping[int, list[list[float]]] = {0: [], 1: []}
    for number in range(count):
        for which in (0, 1) if number % 2 else (1, 0):
            found[which].append(one(both[which]))
    return found[0], found[1]


def _times(what: str, rounds: tuple[list[list[float]], list[list[float]]]) -> list[Row]:
    rows = []
    for percent in (50, 99):
        ours, limit = (median([percentile(one, percent) for one in side]) * 1000 for side in rounds)
        rows.append(Row(f"{what}: p{percent}", "ms", ours, limit))
    say(f"{what}: p50 {rows[0].ours:.1f} ms, bare {rows[0].limit:.1f} ms")
    return rows


if __name__ == "__main__":
    command(measure, __doc__ or "")
