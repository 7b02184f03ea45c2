"""Days that need care: month ends, 29 February, and holidays, announced or not."""

from datetime import date

import pytest

from crm.base.calendar import end_of_holiday, eve_of_holiday, is_holiday, months_later


@pytest.mark.parametrize(
    ("day", "months", "then"),
    [
        (date(2026, 1, 31), 1, date(2026, 2, 28)),
        (date(2026, 1, 31), 2, date(2026, 3, 31)),
        (date(2028, 1, 31), 1, date(2028, 2, 29)),
        (date(2028, 2, 29), 12, date(2029, 2, 28)),
        (date(2028, 2, 29), 48, date(2032, 2, 29)),
        (date(2026, 12, 15), 1, date(2027, 1, 15)),
        (date(2026, 8, 31), 0, date(2026, 8, 31)),
    ],
)
def test_months_of_different_lengths(day: date, months: int, then: date) -> None:
    assert months_later(day, months) == then


@pytest.mark.parametrize(
    ("day", "before", "after"),
    [
        (date(2026, 2, 17), date(2026, 2, 14), date(2026, 2, 24)),  # 春节
        (date(2026, 10, 1), date(2026, 9, 30), date(2026, 10, 8)),  # 国庆
        (date(2026, 3, 7), date(2026, 3, 7), date(2026, 3, 7)),  # a Saturday like any other
        (date(2027, 2, 6), date(2027, 2, 4), date(2027, 2, 9)),  # not announced yet: by law
        (date(2028, 1, 1), date(2027, 12, 31), date(2028, 1, 2)),
    ],
)
def test_holidays_have_a_day_before_and_one_after(day: date, before: date, after: date) -> None:
    assert (eve_of_holiday(day), end_of_holiday(day)) == (before, after)


def test_a_day_far_ahead_is_no_holiday_unless_it_is_one_every_year() -> None:
    assert is_holiday(date(2050, 5, 1))
    assert not is_holiday(date(2050, 5, 6))
