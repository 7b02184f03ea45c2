"""The Simulator: one world with its clock, tokens, faults, callbacks and call log. Everything that lives long."""

import random
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from bot.simulator.aibot_calls import BotCalls
from bot.simulator.aibots import BotCall
from bot.simulator.callbacks import Callbacks
from bot.simulator.faults import Faults, Limits, Roads
from bot.simulator.refusals import NotPossible
from bot.simulator.tokens import Tokens
from bot.simulator.world import World
from crm.base.clock import Clock, MovableClock

LAST_DAY = datetime(2200, 1, 1, tzinfo=UTC)
KEPT_CALLS = 5_000
KEPT_ITEMS = 20


@dataclass
class Options:
    """Habits of the vendor that a test may want off or on."""

    empty_page_every: int = 0  # each n-th sync_msg answers an empty page with has_more=1; 0 is never
    tokenless_pulls_per_minute: int = 0  # sync_msg without a callback's token; 0 is no limit
    refuse_escapes: bool = True  # \uXXXX in a body is 40033
    mark_tag_seconds: float = 0.005  # real time a mark_tag takes; a second one on the customer meanwhile is 45035


@dataclass(frozen=True, slots=True)
class Till:
    """Where the service takes notices of payments, and the key that signs them."""

    url: str
    key: bytes


@dataclass(slots=True)
class LoggedCall:
    seq: int
    at: float
    path: str
    agentid: int | None
    errcode: int
    request: Any
    response: Any


@dataclass
class CallLog:
    """The last calls, for the console and for tests that ask what really arrived."""

    calls: deque[LoggedCall] = field(default_factory=lambda: deque(maxlen=KEPT_CALLS))
    seq: int = 0

    def add(self, at: float, path: str, agentid: int | None, request: Any, response: Any) -> None:
        self.seq += 1
        errcode = response.get("errcode", 0) if isinstance(response, dict) else 0
        self.calls.append(LoggedCall(self.seq, at, path, agentid, errcode, request, _cut(response)))


def _cut(response: Any) -> Any:
    """Long lists are kept by their head: 5,000 full pages of messages would outgrow everything else."""
    if not isinstance(response, dict):
        return response
    long = {name: value for name, value in response.items() if isinstance(value, list) and len(value) > KEPT_ITEMS}
    heads = {name: [*value[:KEPT_ITEMS], f"… {len(value)} in all"] for name, value in long.items()}
    return {**response, **heads} if long else response


class Simulator:
    """`clock` should be a MovableClock so that the console can push time; any Clock works.

    envelope_clock: what callbacks' envelopes are stamped with, by default `clock`. A service in another process that
    refuses stale envelopes by the machine's time needs a SystemClock here, or it refuses all once time was pushed.
    """

    def __init__(
        self,
        clock: Clock | None = None,
        chance: random.Random | None = None,
        *,
        corpid: str = "ww0000000000000001",
        options: Options | None = None,
        envelope_clock: Clock | None = None,
    ) -> None:
        self.clock = clock or MovableClock()
        self.options = options or Options()
        self.world = World(self.clock, chance, corpid)
        self.tokens = Tokens(self.world.corp)
        self.faults = Faults(self.world.corp.chance)
        self.limits = Limits()
        self.roads = Roads()
        self.callbacks = Callbacks(
            self.world.corp, self.roads, self.world.notices.take_reply, envelope_clock or self.clock
        )
        self.bot_calls = BotCalls(
            self.world.corp, self.world.aibots, self.roads, self.callbacks, envelope_clock or self.clock
        )
        self.world.aibots.listener = self._tell_bot
        self.till: Till | None = None  # whom the pretended payment page tells of payments
        self.log = CallLog()
        self.origin = ""  # where pages and files of the simulator are reached; set by the first request
        self.pulls = 0
        self.world.corp.listeners.append(self.callbacks.take)

    async def start(self) -> None:
        await self.callbacks.start()
        await self.bot_calls.start()

    async def stop(self) -> None:
        self.world.corp.feed.close()
        self.world.corp.stop_waiting()
        await self.bot_calls.stop()
        await self.callbacks.stop()

    def _tell_bot(self, call: BotCall) -> None:
        self.bot_calls.origin = self.origin
        self.bot_calls.take(call)

    def advance(self, seconds: float) -> None:
        """Push the clock, and let what is due by time alone happen."""
        if not isinstance(self.clock, MovableClock):
            raise NotPossible("这个时钟不能拨动")
        if seconds < 0:
            raise NotPossible("时间不能倒流")
        if self.clock.now() + timedelta(seconds=seconds) > LAST_DAY:
            raise NotPossible("时间走得太远了")
        self.clock.advance(seconds=seconds)
        self.world.kf.end_lapsed()
