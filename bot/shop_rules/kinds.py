"""How a rule is written and read: numbers, lengths of time, hours, days off, lists; each says what it cannot take."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, time, timedelta
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any, Protocol

from bot.handoff.hours import Block, OwnDay, UnreadableHours, WorkingHours, read_blocks
from bot.handoff.triggers import Reason
from crm.base.calendar import FRIDAY, SATURDAY, DayKind

MOST_LINES = 400
LONGEST_SPAN = 60  # days of one line: longer, and a year was mistyped
DAY = timedelta(days=1)


class Wrong(StrEnum):
    """Why a text cannot be taken; words are the page's."""

    NOT_A_NUMBER = "not_a_number"
    OUT_OF_RANGE = "out_of_range"
    NOT_A_TIME = "not_a_time"
    HOURS = "hours"
    DAY = "day"
    TOO_MANY = "too_many"
    TOO_SHORT = "too_short"
    UNKNOWN = "unknown"
    SAME = "same"
    ORDER = "order"


class Unfit(Exception):
    """A text that a rule cannot take: why, and the facts of it."""

    def __init__(self, wrong: Wrong, **facts: Any) -> None:
        super().__init__(wrong)
        self.wrong, self.facts = wrong, facts


class Kind(Protocol):
    """read: raises Unfit. write: read() of it is the value again."""

    def read(self, text: str) -> Any: ...
    def write(self, value: Any) -> str: ...


@dataclass(frozen=True, slots=True)
class Number:
    """A whole number; may_lack: nothing written means no limit."""

    least: int
    most: int
    may_lack: bool = False

    def read(self, text: str) -> int | None:
        if not text and self.may_lack:
            return None
        if not re.fullmatch(r"\d{1,12}", text):
            raise Unfit(Wrong.NOT_A_NUMBER)
        return int(_within(Decimal(int(text)), self.least, self.most))

    def write(self, value: int | None) -> str:
        return "" if value is None else str(value)


@dataclass(frozen=True, slots=True)
class Span:
    """A length of time, written in `unit`."""

    unit: timedelta
    least: int
    most: int

    def read(self, text: str) -> timedelta:
        return self.unit * float(_within(_decimal(text), self.least, self.most))

    def write(self, value: timedelta) -> str:
        return f"{value / self.unit:g}"


@dataclass(frozen=True, slots=True)
class Yuan:
    """Money, written in yuan, kept in fen."""

    most: int

    def read(self, text: str) -> int:
        fen = _within(_decimal(text), 0, self.most) * 100
        if fen != fen.to_integral_value():
            raise Unfit(Wrong.NOT_A_NUMBER)
        return int(fen)

    def write(self, value: int) -> str:
        return f"{Decimal(value) / 100:f}"


@dataclass(frozen=True, slots=True)
class YesNo:
    def read(self, text: str) -> bool:
        return bool(_one_of(text, {"yes": True, "no": False}))

    def write(self, value: bool) -> str:
        return "yes" if value else "no"


@dataclass(frozen=True, slots=True)
class Hour:
    """A time of the day; may_lack: none at all."""

    may_lack: bool = False

    def read(self, text: str) -> time | None:
        if not text and self.may_lack:
            return None
        found = re.fullmatch(r"(\d{1,2})[:：](\d{2})", text)
        if found is None or int(found[1]) > 23 or int(found[2]) > 59:
            raise Unfit(Wrong.NOT_A_TIME)
        return time(int(found[1]), int(found[2]))

    def write(self, value: time | None) -> str:
        return "" if value is None else f"{value:%H:%M}"


@dataclass(frozen=True, slots=True)
class HoursInWords:
    def read(self, text: str) -> str:
        joined = "；".join(line.strip() for line in text.splitlines() if line.strip())
        try:
            return WorkingHours.read(joined).words
        except UnreadableHours as unreadable:
            raise Unfit(Wrong.HOURS, text=str(unreadable)) from None

    def write(self, value: str) -> str:
        return value


@dataclass(frozen=True, slots=True)
class OwnDays:
    """Days that go otherwise than the calendar: a line each, 2027-02-05 至 2027-02-11 放假, 2027-02-14 上班."""

    def read(self, text: str) -> Mapping[date, OwnDay]:
        found: dict[date, OwnDay] = {}
        for line in _lines(text):
            found |= _days_of(line)
        if len(found) > MOST_LINES:
            raise Unfit(Wrong.TOO_MANY, most=MOST_LINES)
        return found

    def write(self, value: Mapping[date, OwnDay]) -> str:
        assert not value  # the server's settings know none; what staff wrote is kept as they wrote it
        return ""


@dataclass(frozen=True, slots=True)
class Triggers:
    def read(self, text: str) -> frozenset[Reason]:
        return frozenset(_one_of(one, {reason.value: reason for reason in Reason}) for one in text.split())

    def write(self, value: frozenset[Reason]) -> str:
        return " ".join(reason.value for reason in Reason if reason in value)


@dataclass(frozen=True, slots=True)
class Phrases:
    """Words, a line each."""

    def read(self, text: str) -> tuple[str, ...]:
        found = tuple(dict.fromkeys(_lines(text)))
        if short := next((one for one in found if len(one) < 2 or len(one) > 60), None):
            raise Unfit(Wrong.TOO_SHORT, text=short[:60])
        return found

    def write(self, value: tuple[str, ...]) -> str:
        return "\n".join(value)


def _decimal(text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise Unfit(Wrong.NOT_A_NUMBER) from None
    if not number.is_finite():
        raise Unfit(Wrong.NOT_A_NUMBER)
    return number


def _within(number: Decimal, least: int, most: int) -> Decimal:
    if not least <= number <= most:
        raise Unfit(Wrong.OUT_OF_RANGE, least=least, most=most)
    return number


def _one_of(text: str, known: Mapping[str, Any]) -> Any:
    if text not in known:
        raise Unfit(Wrong.UNKNOWN, text=text[:40])
    return known[text]


def _lines(text: str) -> list[str]:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) > MOST_LINES:
        raise Unfit(Wrong.TOO_MANY, most=MOST_LINES)
    return lines


_DATE = r"(\d{4})[-/.年](\d{1,2})[-/.月](\d{1,2})日?"
_LINE = re.compile(rf"{_DATE}(?:\s*(?:至|到|~|～|—|–|\s-\s)\s*{_DATE})?[\s,，:：]+(.+)")


def _days_of(line: str) -> dict[date, OwnDay]:
    """One line: its days, and what each of them is."""
    found = _LINE.fullmatch(line)
    if found is None:
        raise Unfit(Wrong.DAY, text=line[:60])
    try:
        first = date(*map(int, found.group(1, 2, 3)))
        last = date(*map(int, found.group(4, 5, 6))) if found[4] else first
        said = re.split(r"[\s,，]+", found[7])[0]  # what follows is a remark, as in a list that was pasted: 放假,春节
        blocks = () if said in {"放假", "上班", "休息"} else read_blocks(found[7])
    except (ValueError, UnreadableHours):
        raise Unfit(Wrong.DAY, text=line[:60]) from None
    if not 0 <= (last - first).days < LONGEST_SPAN:
        raise Unfit(Wrong.DAY, text=line[:60])
    days = (first + DAY * n for n in range((last - first).days + 1))
    return {day: _own(day, said, blocks) for day in days}


def _own(day: date, said: str, blocks: tuple[Block, ...]) -> OwnDay:
    if said == "放假":
        return DayKind(day.weekday(), is_workday=False, is_holiday=True)
    if said == "上班":
        return DayKind(FRIDAY if day.weekday() >= SATURDAY else day.weekday(), is_workday=True, is_holiday=False)
    return blocks
