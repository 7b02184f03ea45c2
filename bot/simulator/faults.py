"""Trouble on demand: scripted API faults, frequency and concurrency limits, and how badly callbacks travel."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Literal, get_args

from bot.simulator.refusals import NotPossible, Refusal

Kind = Literal["errcode", "latency", "drop_before", "drop_after", "http500", "garbage"]


@dataclass(slots=True)
class Fault:
    path: str  # "/cgi-bin/…" or "*"
    kind: Kind
    errcode: int = -1
    seconds: float = 0.0
    times: int = 1  # 0: until cleared
    probability: float = 1.0
    used: int = 0

    def matches(self, path: str) -> bool:
        return self.path in ("*", path)


@dataclass
class Faults:
    """The scripted faults. Each call draws the ones that hit it; one with `times` left 0 is gone."""

    chance: Random
    active: list[Fault] = field(default_factory=list)

    def add(self, fault: Fault) -> None:
        if fault.kind not in get_args(Kind):
            raise NotPossible(f"不认识的故障类型：{fault.kind}")
        if not 0 <= fault.probability <= 1 or fault.times < 0 or fault.seconds < 0:
            raise NotPossible("probability 要在 0 到 1 之间，times 和 seconds 不能为负")
        self.active.append(fault)

    def clear(self) -> None:
        self.active.clear()

    def draw(self, path: str) -> list[Fault]:
        """The faults that hit this call, at most one of each kind."""
        hits: dict[str, Fault] = {}
        for fault in self.active:
            if fault.matches(path) and fault.kind not in hits and self.chance.random() < fault.probability:
                fault.used += 1
                hits[fault.kind] = fault
        if hits:
            self.active = [fault for fault in self.active if not fault.times or fault.used < fault.times]
        return list(hits.values())


@dataclass
class Limits:
    """45009 by the minute and 45033 by calls in flight, per path; off until set. Paths may be "*"."""

    per_minute: dict[str, int] = field(default_factory=dict)
    in_flight: dict[str, int] = field(default_factory=dict)
    _calls: dict[str, deque[float]] = field(default_factory=dict)
    _flying: dict[str, int] = field(default_factory=dict)

    @contextmanager
    def counted(self, path: str, now: float) -> Iterator[None]:
        """Around one call: refuses it when it is one too many, counts it as in flight while it runs."""
        self._flying[path] = self._flying.get(path, 0) + 1
        try:
            self._check(path, now)
            yield
        finally:
            self._flying[path] -= 1

    def _check(self, path: str, now: float) -> None:
        most = self.in_flight.get(path, self.in_flight.get("*"))
        if most is not None and self._flying[path] > most:
            raise Refusal(45033)
        allowed = self.per_minute.get(path, self.per_minute.get("*"))
        if allowed is not None and not self.count(path, allowed, now):
            raise Refusal(45009)

    def count(self, what: str, allowed: int, now: float, seconds: float = 60.0) -> bool:
        """Whether one more of `what` fits into the window; if so it is counted."""
        calls = self._calls.setdefault(what, deque())
        while calls and calls[0] <= now - seconds:
            calls.popleft()
        if len(calls) >= allowed:
            return False
        calls.append(now)
        return True


@dataclass
class Roads:
    """How callbacks travel. Probabilities are 0..1; `delay` and `retry_after` are real seconds."""

    drop: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    delay: float = 0.0
    retries: int = 3
    retry_after: float = 1.0
    retry_on_status: bool = True  # whether an answer other than 200 is retried: sources conflict
    same_envelope: float = 0.0  # a repeat carries the same nonce, timestamp and ciphertext
    coalesce: float = 0.0  # seconds in which several kf messages share one callback

    def change(self, changes: dict[str, object]) -> None:
        for name, value in changes.items():
            if name not in _ROAD_KEYS:
                raise NotPossible(f"没有这个选项：{name}")
            if isinstance(value, str) or not isinstance(value, int | float) or value < 0:
                raise NotPossible(f"{name} 要是不小于 0 的数")
            if name in _PROBABILITIES and value > 1:
                raise NotPossible(f"{name} 是概率，要在 0 到 1 之间")
        for name, value in changes.items():
            setattr(self, name, value)


_PROBABILITIES = {"drop", "duplicate", "reorder", "same_envelope"}
_ROAD_KEYS = _PROBABILITIES | {"delay", "retries", "retry_after", "retry_on_status", "coalesce"}
