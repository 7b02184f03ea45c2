"""What the service holds in memory: at rest, and after many messages, which must not make it grow.

limit: of the service at rest, a Python that has imported it and does nothing; of the rest, the service after its first
messages, when every cache and pool is filled.
"""

import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass

from benchmarks.child import Child
from benchmarks.ground import database
from benchmarks.report import Report, Row, command, say
from benchmarks.roundtrip import Place, service
from benchmarks.street import street

CROWD = 2_000  # customers who ask at a time


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    messages: int
    every: int
    crowd: int = CROWD
    databases: tuple[str, ...] = ("SQLite", "PostgreSQL")


FULL = Size(messages=100_000, every=20_000)
QUICK = Size(messages=3_000, every=1_000, crowd=500, databases=("SQLite",))


@asynccontextmanager
async def nothing() -> AsyncIterator[None]:
    """Everything imported, nothing built: `service` above came with this module."""
    yield None


def measure(quick: bool, size: Size | None = None) -> Report:
    report = Report("memory")
    size = size or (QUICK if quick else FULL)
    with Child(nothing) as idle:
        imported = idle.rss_mb()
    for kind in size.databases:
        report.rows += _grown(kind, size, imported)
    return report


def _grown(kind: str, size: Size, imported: float) -> list[Row]:
    with ExitStack() as stack:
        url = stack.enter_context(database(kind))
        there = stack.enter_context(Child(street))
        served = stack.enter_context(Child(service, url, there.ask("address")))
        place = Place(there, served, served.ask("where"))
        rows = [Row(f"{kind}, at rest", "MB", served.rss_mb(), imported)]
        warm = 0.0
        for done in _asked(place, size):
            now = served.rss_mb()
            warm = warm or now
            rows.append(Row(f"{kind}, after {done:,} messages", "MB", now, warm))
            say(f"{rows[-1].what}: {now:.0f} MB")
        return rows


def _asked(place: Place, size: Size) -> Iterator[int]:
    """Crowd after crowd asks, each made of customers who were never here; yields how many did, now and then."""
    for done in itertools.count(size.crowd, size.crowd):
        place.street.ask("leave")
        place.work_off(place.street.ask("arrive", size.crowd))
        if done % size.every == 0:
            yield done
        if done >= size.messages:
            return


if __name__ == "__main__":
    command(measure, __doc__ or "")
