"""The calendar of subscriptions: rhythms, ladders and what is owed, day by day."""

from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from campaigns.models.subscription import CycleUnit, OnHoliday
from campaigns.subscription_rules import (
    DUNNING,
    GIVE_UP,
    LADDER,
    Rhythm,
    dunning_on,
    is_gift,
    ladder_of,
    next_dunning,
    next_reminder,
    owed_since,
    reminder_on,
)

MONTHLY = Rhythm(CycleUnit.MONTHS, 1, OnHoliday.SAME)
WEEKLY = Rhythm(CycleUnit.DAYS, 7, OnHoliday.SAME)
DAY = timedelta(days=1)


def days_of(rhythm: Rhythm, anchor: date, count: int) -> list[date]:
    step, day, found = 0, rhythm.due(anchor, today=anchor - DAY), [anchor]
    for _ in range(count - 1):
        step, day = rhythm.next(anchor, step, after=day)
        found.append(day)
    return found


def test_the_thirty_first_comes_back_after_a_short_month() -> None:
    assert [f"{day:%m-%d}" for day in days_of(MONTHLY, date(2026, 1, 31), 5)] == [
        "01-31", "02-28", "03-31", "04-30", "05-31",
    ]  # fmt: skip


def test_the_twenty_ninth_of_february_comes_back_after_three_years() -> None:
    yearly = Rhythm(CycleUnit.MONTHS, 12, OnHoliday.SAME)
    assert [str(day) for day in days_of(yearly, date(2028, 2, 29), 5)] == [
        "2028-02-29", "2029-02-28", "2030-02-28", "2031-02-28", "2032-02-29",
    ]  # fmt: skip


def test_new_year_moves_one_delivery_and_not_the_rhythm() -> None:
    before = Rhythm(CycleUnit.MONTHS, 1, OnHoliday.BEFORE)
    assert [f"{day:%m-%d}" for day in days_of(before, date(2026, 1, 17), 3)] == ["01-17", "02-14", "03-17"]
    after = Rhythm(CycleUnit.MONTHS, 1, OnHoliday.AFTER)
    assert [f"{day:%m-%d}" for day in days_of(after, date(2026, 1, 17), 3)] == ["01-17", "02-24", "03-17"]
    assert before.due(date(2026, 2, 17), today=date(2026, 2, 16)) == date(2026, 2, 24), "never into the past"


def test_a_ladder_has_the_steps_that_fit_between_two_deliveries() -> None:
    assert ladder_of(MONTHLY) == (7, 3, 0)
    assert ladder_of(WEEKLY) == (3, 0)
    assert ladder_of(Rhythm(CycleUnit.DAYS, 1)) == (0,)


@settings(max_examples=60, deadline=None)
@given(
    every=st.integers(1, 40),
    unit=st.sampled_from(CycleUnit),
    on_holiday=st.sampled_from(OnHoliday),
    anchor=st.dates(date(2024, 1, 1), date(2032, 12, 31)),
)
def test_days_go_forward_and_each_step_is_reminded_of_once(
    every: int, unit: CycleUnit, on_holiday: OnHoliday, anchor: date
) -> None:
    rhythm = Rhythm(unit, every, on_holiday)
    step, day = 0, anchor
    for _ in range(3):
        last_step, last = step, day
        step, day = rhythm.next(anchor, step, after=day)
        assert day > last and step > last_step
    ladder = ladder_of(rhythm)
    today: date | None = day - timedelta(days=10)
    said = []
    while today is not None:
        if step_name := reminder_on(day, ladder, today=today):
            said.append(step_name)
        today = next_reminder(day, ladder, today=today)
    assert said == [f"d{days}" for days in ladder]


@pytest.mark.parametrize(
    ("days_ago", "said"), [(0, ""), (1, "p1"), (2, "p1"), (3, "p3"), (5, "p5"), (6, "p5"), (7, "gone")]
)
def test_money_is_asked_for_three_times_and_then_given_up(days_ago: int, said: str) -> None:
    since = date(2026, 3, 1)
    assert dunning_on(since, today=since + timedelta(days=days_ago)) == said


def test_the_days_of_asking_follow_each_other() -> None:
    today, since, seen = date(2026, 3, 1), date(2026, 3, 1), []
    while dunning_on(since, today=today) != "gone":
        today = next_dunning(since, today=today)
        seen.append((today - since).days)
    assert seen == [*DUNNING, GIVE_UP]


def test_who_confirms_early_owes_nothing_before_the_day() -> None:
    assert owed_since(date(2026, 3, 20), date(2026, 3, 13)) == date(2026, 3, 19)
    assert owed_since(date(2026, 3, 20), date(2026, 3, 20)) == date(2026, 3, 20)


def test_a_reminder_that_was_slept_through_is_made_up_for_once() -> None:
    assert reminder_on(date(2026, 3, 20), LADDER, today=date(2026, 3, 18)) == "d3"
    assert reminder_on(date(2026, 3, 20), LADDER, today=date(2026, 3, 21)) == ""


@pytest.mark.parametrize(("bought", "every", "free"), [(2, 4, False), (3, 4, True), (9, 0, False), (1, 2, True)])
def test_every_fourth_is_free_after_three_that_were_paid(bought: int, every: int, free: bool) -> None:
    assert is_gift(bought, every) is free
