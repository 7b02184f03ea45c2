"""The rules of the gate, pure: quiet hours, frequency caps, the platform's quota; and the decision they lead to."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from crm.base.clock import SHANGHAI, day_start, local_day


class Channel(StrEnum):
    """How a marketing message reaches somebody."""

    KF = "kf"  # a message in the kf chat, inside the window
    BROADCAST = "broadcast"  # 企业群发: staff confirm it, WeCom counts it
    STAFF = "staff"  # a to-do for a colleague, who writes by hand


class Verdict(StrEnum):
    ALLOWED = "allowed"
    HELD = "held"  # not now: ask again at `until`, or when what holds it is over
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """May this member be contacted, and if not, why. Words: gate_words.py."""

    verdict: Verdict
    code: str = ""  # stable key: "gate.quiet_hours"; empty when allowed
    until: datetime | None = None  # of a held one; None: nobody knows yet
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_allowed(self) -> bool:
        return self.verdict is Verdict.ALLOWED


ALLOWED = Decision(verdict=Verdict.ALLOWED)


def refused(code: str, **facts: Any) -> Decision:
    return Decision(verdict=Verdict.REFUSED, code=code, facts=facts)


def held(code: str, until: datetime | None, **facts: Any) -> Decision:
    return Decision(verdict=Verdict.HELD, code=code, until=until, facts=facts)


@dataclass(frozen=True, slots=True)
class QuietHours:
    """Shop-local hours in which marketing waits, the end not included; from 22:00 to 08:00 goes over midnight."""

    begins: time
    ends: time

    def until(self, now: datetime, *, zone: ZoneInfo = SHANGHAI) -> datetime | None:
        """When they end, if it is quiet now."""
        local = now.astimezone(zone)
        over_midnight, hour = self.begins >= self.ends, local.time()
        in_the_evening, before_the_end = hour >= self.begins, hour < self.ends
        if not (in_the_evening or before_the_end if over_midnight else in_the_evening and before_the_end):
            return None
        day = local.date() + timedelta(days=1) if over_midnight and in_the_evening else local.date()
        return datetime.combine(day, self.ends, tzinfo=zone).astimezone(now.tzinfo)


@dataclass(frozen=True, slots=True)
class FrequencyCap:
    """At most `touches` in any window of this length."""

    touches: int
    window: timedelta

    def free_at(self, touched: Collection[datetime], *, now: datetime) -> datetime | None:
        """When the next touch fits, if it does not now. touched: earlier ones; one that is to come counts as now's."""
        recent = sorted((min(at, now) for at in touched if at > now - self.window), reverse=True)
        if len(recent) < self.touches:
            return None
        return recent[self.touches - 1] + self.window if self.touches else now + self.window


@dataclass(frozen=True, slots=True)
class PlatformQuota:
    """How many 企业群发 WeCom shows one customer, or one group, by shop-local day, week from Monday, and month.

    None: no limit of ours; of a month, as many as it has days, WeCom's own default (wecom-api.md §4.5).
    """

    per_day: int | None = 1
    per_week: int | None = None
    per_month: int | None = None

    def free_on(self, used: Sequence[date], *, today: date) -> date | None:
        """The day on which the next one fits, if it does not today."""
        monday, first = today - timedelta(days=today.weekday()), today.replace(day=1)
        next_month = (first + timedelta(days=32)).replace(day=1)
        full = [
            after
            for since, limit, after in (
                (today, self.per_day, today + timedelta(days=1)),
                (monday, self.per_week, monday + timedelta(days=7)),
                (first, self.per_month if self.per_month is not None else (next_month - first).days, next_month),
            )
            if limit is not None and sum(since <= day < after for day in used) >= limit
        ]
        return max(full, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """What the shop decided about contacting members."""

    quiet: QuietHours | None = QuietHours(time(22), time(8))
    caps: tuple[FrequencyCap, ...] = (FrequencyCap(1, timedelta(days=1)), FrequencyCap(3, timedelta(days=7)))
    quota: PlatformQuota = PlatformQuota()
    needs_opt_in: bool = False  # True: who never said yes is left in peace
    zone: ZoneInfo = SHANGHAI

    @property
    def longest_window(self) -> timedelta:
        return max((cap.window for cap in self.caps), default=timedelta())

    def when(self, touched: Collection[datetime], spent: Sequence[date] | None, *, now: datetime) -> Decision:
        """Whether now is the time for a member, or when it is. spent: shop-local days of their 企业群发, if it is one.

        Of several reasons to wait, the one that lasts longest; the end is pushed out of the quiet hours.
        """
        waits: list[tuple[datetime, str, dict[str, Any]]] = []
        quiet_until = self.quiet.until(now, zone=self.zone) if self.quiet else None
        if quiet_until is not None:
            waits.append((quiet_until, "gate.quiet_hours", {}))
        for cap in self.caps:
            free_at = cap.free_at(touched, now=now)
            if free_at is not None:
                hours = int(cap.window.total_seconds() // 3600)
                waits.append((free_at, "gate.frequency", {"touches": cap.touches, "hours": hours}))
        free_on = None if spent is None else self.quota.free_on(spent, today=local_day(now, self.zone))
        if free_on is not None:
            waits.append((day_start(free_on, self.zone), "gate.quota", {"used": len(spent or ())}))
        if not waits:
            return ALLOWED
        until, code, facts = max(waits, key=lambda wait: wait[0])
        quiet_then = self.quiet.until(until, zone=self.zone) if self.quiet else None
        return held(code, quiet_then or until, **facts)
