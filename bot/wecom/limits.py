"""Keeps our calls inside WeCom's limits: rates, calls in flight, and the silence after a limit was hit."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from bot.wecom.errors import RateLimited
from crm.base.clock import Clock

PATIENCE_SECONDS = 5.0
LONGEST_BLOCK = 86_400.0
HOUR = 3_600.0
REGROW_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `count` calls in any `seconds`: a fifth at once, the rest evenly, so that no window can exceed it."""

    count: int
    seconds: float

    @property
    def burst(self) -> float:
        return max(1.0, self.count / 5)

    @property
    def per_second(self) -> float:
        return (self.count - self.burst) / self.seconds


# The vendor counts per corp, per app or per caller: `share` of the limiter leaves room for our other processes.
USUAL = (Rate(10_000, 60), Rate(150_000, HOUR))
RATES: Mapping[str, tuple[Rate, ...]] = {
    "/cgi-bin/webhook/send": (Rate(20, 60),),  # per robot
    "/cgi-bin/get_jsapi_ticket": (Rate(400, HOUR),),
    "/cgi-bin/ticket/get": (Rate(100, HOUR),),
    "/cgi-bin/media/uploadimg": (Rate(1_000, 86_400),),
}
IN_FLIGHT = 32
LIST_READS = "list reads"  # one corp-wide guard watches over all of them: 45033
LIST_READS_IN_FLIGHT = 5
_LIST_READS = frozenset(
    f"/cgi-bin/externalcontact/{name}"
    for name in (
        *("get_follow_user_list", "list", "get", "batch/get_by_user", "get_corp_tag_list", "list_contact_way"),
        *("groupchat/list", "groupchat/get", "get_groupmsg_list_v2", "get_groupmsg_task", "get_groupmsg_send_result"),
    )
)


class Bucket:
    """Tokens that flow in at a rate; taken ahead of time they are a debt, and the debt is how long to wait."""

    def __init__(self, rate: Rate, share: float, now: float) -> None:
        self._per_second, self._burst = rate.per_second * share, max(1.0, rate.burst * share)
        self._level, self._at = self._burst, now

    def delay(self, now: float) -> float:
        """Seconds until a call may start."""
        self._level = min(self._burst, self._level + (now - self._at) * self._per_second)
        self._at = now
        return max(0.0, (1 - self._level) / self._per_second) if self._level < 1 else 0.0

    def take(self) -> None:
        self._level -= 1

    def give_back(self) -> None:
        self._level += 1


class Gate:
    """How many calls may be under way; closes by half when WeCom says there are too many, and opens step by step."""

    def __init__(self, most: int) -> None:
        self._most, self._width, self._inside = most, most, 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._grow_at = 0.0

    async def enter(self, now: float) -> None:
        if self._width < self._most and now >= self._grow_at:
            self._width += 1
            self._grow_at = now + REGROW_SECONDS
        if self._inside < self._width and not self._waiting:
            self._inside += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave()  # the turn had been given to us; a cancelled one is skipped when its time comes
            raise

    def leave(self) -> None:
        self._inside -= 1
        while self._waiting and self._inside < self._width:
            turn = self._waiting.popleft()
            if not turn.done():
                self._inside += 1
                turn.set_result(None)

    def narrow(self, now: float) -> None:
        self._width = max(1, self._width // 2)
        self._grow_at = now + REGROW_SECONDS

    @property
    def width(self) -> int:
        return self._width


@dataclass(slots=True)
class Block:
    """A limit was hit. Hit again soon after the block ended, it is the hour's limit and not the minute's."""

    until: float
    seconds: float


@dataclass(slots=True)
class Lane:
    """What the limiter knows of one path and app."""

    buckets: list[Bucket]
    block: Block | None = None


@dataclass(slots=True)
class Line:
    """Who waits to change one thing."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0


class Limiter:
    """`async with limiter.slot(path, app):` around each call; `limiter.block(...)` when it was answered with 45009.

    patience: seconds a call may wait for its turn. One that would have to wait longer raises RateLimited at once,
    with the seconds in it, and whoever owns the message decides.
    share: the part of the vendor's limits this process may use.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        share: float = 1.0,
        patience: float = PATIENCE_SECONDS,
        rates: Mapping[str, tuple[Rate, ...]] = RATES,
        in_flight: Mapping[str, int] | None = None,
    ) -> None:
        self._clock, self._share, self._patience, self._rates = clock, share, patience, rates
        self._in_flight = {LIST_READS: LIST_READS_IN_FLIGHT, **(in_flight or {})}
        self._lanes: dict[tuple[str, str], Lane] = {}
        self._gates: dict[str, Gate] = {}
        self._lines: dict[tuple[str, str], Line] = {}

    def retry_after(self, path: str, app: str = "") -> float:
        """Seconds until a call of this kind could start: 0.0 means now. Takes nothing and waits for nothing."""
        now, lane = self._clock.monotonic(), self._lane(path, app)
        blocked = lane.block.until - now if lane.block else 0.0
        return max(0.0, blocked, *(bucket.delay(now) for bucket in lane.buckets))

    def block(self, path: str, app: str = "", *, seconds: float) -> float:
        """WeCom said 45009: silence for this path until the window ends. Returns how long."""
        now, lane = self._clock.monotonic(), self._lane(path, app)
        last = lane.block
        if last is not None and now < last.until:
            return last.until - now  # calls that were under way when the first answer came
        if last is not None and now < last.until + last.seconds:
            seconds = max(seconds, HOUR)
        lane.block = Block(now + min(seconds, LONGEST_BLOCK), min(seconds, LONGEST_BLOCK))
        return lane.block.seconds

    def crowded(self, path: str) -> None:
        """WeCom said 45033: half as many of this kind at once, growing back by one every half minute."""
        self._gate(path).narrow(self._clock.monotonic())

    @asynccontextmanager
    async def slot(self, path: str, app: str = "") -> AsyncIterator[None]:
        """One call's turn. Raises RateLimited when the turn is more than `patience` away."""
        wait = self.retry_after(path, app)
        if wait > self._patience:
            raise RateLimited(0, "waiting for the limit's window to end", path, retry_after=wait)
        buckets = self._lane(path, app).buckets
        for bucket in buckets:
            bucket.take()
        gate = self._gate(path)
        try:
            if wait:
                await self._clock.sleep(wait)
            await gate.enter(self._clock.monotonic())
        except asyncio.CancelledError:
            for bucket in buckets:
                bucket.give_back()
            raise
        try:
            yield
        finally:
            gate.leave()

    @asynccontextmanager
    async def alone(self, kind: str, key: str) -> AsyncIterator[None]:
        """One at a time per key: changing one customer twice at once is answered with 45035."""
        line = self._lines.setdefault((kind, key), Line())
        line.users += 1
        try:
            async with line.lock:
                yield
        finally:
            line.users -= 1
            if not line.users:
                del self._lines[(kind, key)]

    def _lane(self, path: str, app: str) -> Lane:
        lane = self._lanes.get((path, app))
        if lane is None:
            now = self._clock.monotonic()
            rates = self._rates.get(path, USUAL)
            lane = self._lanes[(path, app)] = Lane([Bucket(rate, self._share, now) for rate in rates])
        return lane

    def _gate(self, path: str) -> Gate:
        kind = LIST_READS if path in _LIST_READS else path
        if kind not in self._gates:
            self._gates[kind] = Gate(self._in_flight.get(kind, IN_FLIGHT))
        return self._gates[kind]
