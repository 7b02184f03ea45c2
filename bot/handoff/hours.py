"""Working hours: read from the words customers are told, and the arithmetic of clocks that run in them only."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from crm.base.calendar import DayKind, kind_of
from crm.base.clock import SHANGHAI, local_day

HORIZON = timedelta(days=60)  # no shop is closed for longer; past it a clock runs on as if it were open
DAY = timedelta(days=1)
WEEKDAYS = "一二三四五六日"
_BLOCK = re.compile(r"(\d{1,2})[:：](\d{2})\s*[-–—~～至到]\s*(\d{1,2})[:：](\d{2})")
_WEEK = re.compile(r"(?:周|星期|礼拜)([一二三四五六日天])(?:\s*[-–—~～至到]\s*(?:周|星期|礼拜)?([一二三四五六日天]))?")


class UnreadableHours(ValueError):
    """These words do not say when somebody is there."""


@dataclass(frozen=True, slots=True)
class Block:
    """One stretch of a day, in minutes after the shop's midnight: start included, end not."""

    start: int
    end: int


OwnDay = DayKind | tuple[Block, ...]  # a day of the shop's own: another kind of day, or its very blocks
Rule = tuple[Callable[[DayKind], bool], tuple[Block, ...]]


@dataclass(frozen=True)
class WorkingHours:
    """When somebody is there. `words` is what customers read; the clocks count by the same words.

    Rules are joined with ；. Each is a kind of day (每天, 工作日, 休息日, 节假日, 周一至周五, 周六、周日) and its
    blocks: 9:00–12:00、13:30–18:00 or 休息. The last rule that fits a day decides it; a day without a rule is closed.
    周一至周五 means days that are worked as such, so 调休 counts; a holiday is nobody's Monday.
    """

    words: str
    rules: tuple[Rule, ...]
    zone: ZoneInfo = SHANGHAI
    own: Mapping[date, OwnDay] = field(default_factory=dict, hash=False)  # over the country's calendar

    @classmethod
    def read(cls, words: str, zone: ZoneInfo = SHANGHAI, own: Mapping[date, OwnDay] | None = None) -> "WorkingHours":
        """Raises UnreadableHours."""
        rules = tuple(_rule(part) for part in re.split(r"[;；]", words) if part.strip())
        if not rules:
            raise UnreadableHours(words)
        return cls(words, rules, zone, own or {})

    def blocks_on(self, day: date) -> tuple[Block, ...]:
        kind = self.own.get(day, kind_of(day))
        if isinstance(kind, tuple):
            return kind
        fitting = [blocks for fits, blocks in self.rules if fits(kind)]
        return fitting[-1] if fitting else ()

    def stretches(self, since: datetime) -> Iterator[tuple[datetime, datetime]]:
        """The open stretches from `since` on, the first one cut there; ends after HORIZON."""
        day = local_day(since, self.zone)
        last = day + HORIZON
        while day <= last:
            for block in self.blocks_on(day):
                start, end = self._at(day, block.start), self._at(day, block.end)
                if end > since:
                    yield max(start, since), end
            day += DAY

    def is_open(self, at: datetime) -> bool:
        return self.opens_at(at) <= at

    def opens_at(self, at: datetime) -> datetime:
        """`at` itself when somebody is there, else the next opening."""
        return next((start for start, _ in self.stretches(at)), at + HORIZON)

    def add(self, since: datetime, worked: timedelta) -> datetime:
        """The instant at which `worked` of working time has passed since `since`."""
        left = worked
        end = since
        for start, end in self.stretches(since):
            if end - start >= left:
                return start + left
            left -= end - start
        return max(end, since) + left

    def between(self, since: datetime, until: datetime) -> timedelta:
        """Working time from `since` to `until`; nothing when `until` is not later."""
        worked = timedelta()
        for start, end in self.stretches(since):
            if start >= until:
                return worked
            worked += min(end, until) - start
        return worked

    def _at(self, day: date, minute: int) -> datetime:
        midnight = datetime.combine(day, time.min, tzinfo=self.zone)
        return (midnight + timedelta(minutes=minute)).astimezone(UTC)


def _rule(words: str) -> Rule:
    fits = _days(words)
    if fits is None:
        raise UnreadableHours(words)
    is_closed = re.search("休息$|不上班$|关$", words.strip()) and not _BLOCK.search(words)
    return fits, () if is_closed else read_blocks(words)


def read_blocks(words: str) -> tuple[Block, ...]:
    """The stretches of one day that these words name, at least one. Raises UnreadableHours."""
    blocks = sorted((_block(*one) for one in _BLOCK.findall(words)), key=lambda block: block.start)
    if not blocks or any(later.start < earlier.end for earlier, later in pairwise(blocks)):
        raise UnreadableHours(words)
    return tuple(blocks)


def _block(*numbers: str) -> Block:
    from_hour, from_minute, to_hour, to_minute = map(int, numbers)
    start, end = from_hour * 60 + from_minute, to_hour * 60 + to_minute
    if not 0 <= start < end <= 24 * 60:
        raise UnreadableHours(f"{from_hour}:{from_minute:02}–{to_hour}:{to_minute:02}")
    return Block(start, end)


def _days(words: str) -> Callable[[DayKind], bool] | None:
    if weekdays := _weekdays(words):
        return lambda kind: not kind.is_holiday and kind.weekday in weekdays
    if "工作日" in words:
        return lambda kind: kind.is_workday
    if "节假日" in words or "法定" in words:
        return lambda kind: kind.is_holiday
    if "休息日" in words or "周末" in words:
        return lambda kind: not kind.is_workday
    return (lambda _: True) if "每天" in words or "全天" in words or _BLOCK.match(words.strip()) else None


def _weekdays(words: str) -> frozenset[int]:
    days: set[int] = set()
    for first, last in _WEEK.findall(words.replace("天", "日").replace("每日", "每天")):
        start = WEEKDAYS.index(first)
        days.update(range(start, WEEKDAYS.index(last) + 1) if last else [start])
    return frozenset(days)


ALWAYS = WorkingHours.read("每天 0:00–24:00")


def say_when(at: datetime, *, now: datetime, zone: ZoneInfo = SHANGHAI) -> str:
    """An instant as a shop assistant would say it: 今天 14:30, 明天 9:00, 11月25日 9:00."""
    there, here = at.astimezone(zone), now.astimezone(zone)
    days = (there.date() - here.date()).days
    named = {0: "今天", 1: "明天", 2: "后天"}.get(days, f"{there.month}月{there.day}日")
    return f"{named} {there.hour}:{there.minute:02}"
