"""Where time comes from: the wall clock, a frozen one for tests, a movable one for the demo; shop-local days."""

import asyncio
import contextlib
import time
from datetime import UTC, date, datetime, timedelta
from datetime import time as wall_time
from typing import Protocol
from zoneinfo import ZoneInfo

SHANGHAI = ZoneInfo("Asia/Shanghai")


class Clock(Protocol):
    """Where time comes from. `now` is aware UTC; `monotonic` and `sleep` are in seconds."""

    def now(self) -> datetime: ...

    def monotonic(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))


class MovableClock:
    """A clock that runs with the machine's or stands still, and can be pushed forward.

    rate: 1.0 runs in real time (demo, simulator), 0.0 stands still until `advance` (tests). Sleepers wake when
    their instant is reached, whichever way it was reached. Time never goes back: a negative advance is refused.
    """

    def __init__(self, start: datetime | None = None, *, rate: float = 1.0) -> None:
        if start is not None and start.tzinfo is None:
            raise ValueError("start must be aware")
        self._start = (start or datetime.now(UTC)).astimezone(UTC)
        self._rate = rate
        self._began = time.monotonic()
        self._pushed = 0.0
        self._sleepers: set[asyncio.Event] = set()

    def monotonic(self) -> float:
        return self._pushed + (time.monotonic() - self._began) * self._rate

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self.monotonic())

    def advance(self, delta: timedelta | None = None, **parts: float) -> datetime:
        """Push time forward by a timedelta or by its parts (`days=3`); wakes who slept until then. Returns now."""
        step = (delta or timedelta()) + timedelta(**parts)
        if step < timedelta():
            raise ValueError("time does not go back")
        self._pushed += step.total_seconds()
        for pushed in self._sleepers:  # each looks at the clock itself and may go on sleeping
            pushed.set()
        return self.now()

    async def sleep(self, seconds: float) -> None:
        due = self.monotonic() + seconds
        pushed = asyncio.Event()
        self._sleepers.add(pushed)
        try:
            await asyncio.sleep(0)
            while (left := due - self.monotonic()) > 0:
                pushed.clear()
                with contextlib.suppress(TimeoutError):  # wait_for loses a cancellation that comes with a push
                    async with asyncio.timeout(left / self._rate if self._rate else None):
                        await pushed.wait()
        finally:
            self._sleepers.discard(pushed)


class FrozenClock(MovableClock):
    """Stands still until told to move: the clock of the tests."""

    def __init__(self, start: datetime = datetime(2026, 3, 9, 2, 0, tzinfo=UTC)) -> None:
        super().__init__(start, rate=0.0)


def local_day(instant: datetime, zone: ZoneInfo = SHANGHAI) -> date:
    """The shop-local date of an aware instant."""
    return instant.astimezone(zone).date()


def is_skipped(local: datetime, zone: ZoneInfo = SHANGHAI) -> bool:
    """Whether this wall-clock time never comes: the clocks are set forward over it."""
    there = local.replace(tzinfo=zone)
    return there.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != local


def day_start(day: date, zone: ZoneInfo = SHANGHAI) -> datetime:
    """The aware UTC instant at which the shop-local `day` begins."""
    return datetime.combine(day, wall_time.min, tzinfo=zone).astimezone(UTC)
