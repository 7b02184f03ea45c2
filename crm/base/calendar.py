"""China's calendar: which days are worked, which are statutory holidays, and months of different lengths."""

from calendar import monthrange
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache

import chinese_calendar

DAY = timedelta(days=1)
FRIDAY, SATURDAY = 4, 5
# Of years whose days off are not announced yet, by law: 1 January, 1–2 May, 1–3 October, New Year's Eve to the third.
BY_LAW = frozenset({(1, 1), (5, 1), (5, 2), (10, 1), (10, 2), (10, 3)})
NEW_YEAR = {
    2027: (2, 6), 2028: (1, 26), 2029: (2, 13), 2030: (2, 3), 2031: (1, 23),
    2032: (2, 11), 2033: (1, 31), 2034: (2, 19), 2035: (2, 8), 2036: (1, 28),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class DayKind:
    """What the calendar says about a day. weekday: 0 Monday … 6 Sunday, as it is worked."""

    weekday: int
    is_workday: bool  # of the country's calendar: 调休 Saturdays are, holidays are not
    is_holiday: bool  # statutory: Spring Festival and the like, with the days off around them


@lru_cache(maxsize=2048)
def kind_of(day: date) -> DayKind:
    """The day by China's calendar; years it does not know yet count by weekday alone."""
    try:
        works, (_, holiday) = chinese_calendar.is_workday(day), chinese_calendar.get_holiday_detail(day)
    except NotImplementedError:
        return DayKind(day.weekday(), day.weekday() < SATURDAY, False)
    is_holiday = not works and holiday is not None
    weekday = day.weekday()
    if works and weekday >= SATURDAY:  # 调休: a weekend day that is worked like a weekday
        weekday = FRIDAY
    return DayKind(weekday, works, is_holiday)


def months_later(day: date, months: int) -> date:
    """The same day of the month so many months on; where that month is too short, its last day."""
    count = day.year * 12 + day.month - 1 + months
    year, month = count // 12, count % 12 + 1
    return date(year, month, min(day.day, monthrange(year, month)[1]))


@lru_cache(maxsize=2048)
def is_holiday(day: date) -> bool:
    """Whether it is a statutory day off, announced or, in a year that is not announced yet, by law."""
    try:
        chinese_calendar.is_workday(day)
    except NotImplementedError:
        first = NEW_YEAR.get(day.year)
        return (day.month, day.day) in BY_LAW or (first is not None and -1 <= (day - date(day.year, *first)).days <= 2)
    return kind_of(day).is_holiday


def eve_of_holiday(day: date) -> date:
    """The last day before the holiday that `day` lies in; any other day itself."""
    while is_holiday(day):
        day -= DAY
    return day


def end_of_holiday(day: date) -> date:
    """The first day after the holiday that `day` lies in; any other day itself."""
    while is_holiday(day):
        day += DAY
    return day
