"""How fast one visitor, or one address, may ask: so many in a window, counted in this process."""

from collections import OrderedDict
from dataclasses import dataclass
from ipaddress import ip_address

from aiohttp import web

from crm.base.clock import Clock
from crm.base.errors import Busy

REMEMBERED = 50_000  # who asked lately; the longest silent is forgotten first


@dataclass(slots=True)
class _Count:
    since: float
    asked: int = 0


class Pace:
    """At most `times` in `seconds` for each key."""

    def __init__(self, clock: Clock, *, times: int, seconds: float) -> None:
        self._clock, self._times, self._seconds = clock, times, seconds
        self._counts: OrderedDict[object, _Count] = OrderedDict()

    def check(self, key: object) -> None:
        """Count one more. Raises Busy, with the time until the window ends, for what is too much."""
        now = self._clock.monotonic()
        count = self._counts.get(key)
        if count is None or now - count.since >= self._seconds:
            count = self._counts[key] = _Count(now)
        self._counts.move_to_end(key)
        if len(self._counts) > REMEMBERED:
            self._counts.popitem(last=False)
        count.asked += 1
        if count.asked > self._times:
            raise Busy(retry_after=max(1.0, count.since + self._seconds - now))


def address_of(request: web.Request) -> str | None:
    """Whose phone it is. Behind a proxy the one it names last; None where it names nobody, for that would be all."""
    try:
        is_near = ip_address(request.remote or "").is_private
    except ValueError:
        return None
    named = request.headers.getall("X-Forwarded-For", [""])[-1].rpartition(",")[2].strip()
    return (named or None) if is_near else request.remote
