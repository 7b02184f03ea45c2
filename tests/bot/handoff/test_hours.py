"""Working hours: what the words mean, holidays and 调休, and the arithmetic of clocks."""

from datetime import date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.handoff.hours import ALWAYS, UnreadableHours, WorkingHours, say_when
from crm.base.clock import SHANGHAI

DAILY = WorkingHours.read("每天 9:00–21:00")
OFFICE = WorkingHours.read("工作日 9:00–12:00、13:30–18:00；周六 10:00-16:00")
WEEKS = WorkingHours.read("周一至周五 9:00-18:00；节假日 10:00-15:00")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=SHANGHAI)


@pytest.mark.parametrize(
    ("hours", "day", "blocks"),
    [
        (DAILY, "2026-03-10", "09:00-21:00"),
        (DAILY, "2026-10-01", "09:00-21:00"),
        (OFFICE, "2026-03-10", "09:00-12:00 13:30-18:00"),
        (OFFICE, "2026-03-14", "10:00-16:00"),
        (OFFICE, "2026-03-15", ""),
        (OFFICE, "2026-10-01", ""),
        (OFFICE, "2026-10-10", "09:00-12:00 13:30-18:00"),
        (OFFICE, "2026-02-14", "09:00-12:00 13:30-18:00"),
        (WEEKS, "2026-10-01", "10:00-15:00"),
        (WEEKS, "2026-10-10", "09:00-18:00"),
        (WEEKS, "2026-03-14", ""),
        (OFFICE, "2031-03-11", "09:00-12:00 13:30-18:00"),
    ],
    ids=[
        "every day", "every day, holidays too", "two blocks", "saturday's own", "sunday is closed", "national day",
        "saturday worked for national day", "saturday worked for spring festival", "a holiday's own hours",
        "a worked saturday is a weekday", "a plain saturday is not", "a year the calendar does not know",
    ],
)  # fmt: skip
def test_a_day_has_the_blocks_its_words_say(hours: WorkingHours, day: str, blocks: str) -> None:
    found = [
        f"{one.start // 60:02}:{one.start % 60:02}-{one.end // 60:02}:{one.end % 60:02}"
        for one in hours.blocks_on(date.fromisoformat(day))
    ]
    assert " ".join(found) == blocks


@pytest.mark.parametrize(
    "words", ["", "九点到五点", "每天", "每天 9:00", "每天 21:00-9:00", "每天 9:00-12:00、11:00-18:00"]
)
def test_words_that_say_no_hours_are_refused(words: str) -> None:
    with pytest.raises(UnreadableHours):
        WorkingHours.read(words)


@pytest.mark.parametrize(
    ("hours", "since", "worked", "until"),
    [
        (DAILY, "2026-03-10T10:00", timedelta(minutes=15), "2026-03-10T10:15"),
        (DAILY, "2026-03-10T23:30", timedelta(minutes=15), "2026-03-11T09:15"),
        (DAILY, "2026-03-10T20:50", timedelta(minutes=15), "2026-03-11T09:05"),
        (DAILY, "2026-03-10T21:00", timedelta(), "2026-03-11T09:00"),
        (OFFICE, "2026-03-10T11:30", timedelta(hours=2), "2026-03-10T15:00"),
        (OFFICE, "2026-03-13T17:00", timedelta(hours=8), "2026-03-16T10:00"),
        (OFFICE, "2026-09-30T17:30", timedelta(hours=1), "2026-10-08T09:30"),
        (ALWAYS, "2026-09-30T17:30", timedelta(hours=48), "2026-10-02T17:30"),
    ],
    ids=["inside", "at night", "over the evening", "nothing, when closed", "over lunch", "over a weekend",
         "over national day", "by the calendar"],
)  # fmt: skip
def test_a_clock_runs_in_working_time_only(hours: WorkingHours, since: str, worked: timedelta, until: str) -> None:
    assert hours.add(at(since), worked) == at(until)


@pytest.mark.parametrize(
    ("instant", "is_open"),
    [("2026-03-10T08:59", False), ("2026-03-10T09:00", True), ("2026-03-10T20:59", True), ("2026-03-10T21:00", False)],
)
def test_a_block_begins_at_its_start_and_is_over_at_its_end(instant: str, is_open: bool) -> None:
    assert DAILY.is_open(at(instant)) is is_open


instants = st.integers(0, 365 * 24 * 60).map(lambda minutes: at("2025-12-01T00:00") + timedelta(minutes=minutes))
spans = st.timedeltas(timedelta(), timedelta(days=5))


@given(instants, spans)
def test_what_was_added_is_what_lies_between(since: datetime, worked: timedelta) -> None:
    for hours in (DAILY, OFFICE, ALWAYS):
        assert hours.between(since, hours.add(since, worked)) == worked


@given(instants, spans, spans)
def test_pausing_never_costs_or_wins_time(since: datetime, first: timedelta, second: timedelta) -> None:
    due = OFFICE.add(since, first + second)
    paused_at = OFFICE.add(since, first)
    assert OFFICE.add(paused_at, OFFICE.between(paused_at, due)) in (due, OFFICE.opens_at(due))


@given(instants)
def test_an_opening_is_open_and_never_before(since: datetime) -> None:
    for hours in (DAILY, OFFICE):
        assert hours.opens_at(since) >= since
        assert hours.is_open(hours.opens_at(since))


def test_a_shop_that_never_opens_still_gives_an_instant() -> None:
    closed = WorkingHours.read("每天 休息")
    since = at("2026-03-10T10:00")
    assert not closed.is_open(since)
    assert closed.add(since, timedelta(hours=1)) >= since


@pytest.mark.parametrize(
    ("then", "words"),
    [("2026-03-10T14:05", "今天 14:05"), ("2026-03-11T09:00", "明天 9:00"), ("2026-03-12T09:00", "后天 9:00"),
     ("2026-03-16T09:00", "3月16日 9:00")],
)  # fmt: skip
def test_an_instant_is_said_as_people_say_it(then: str, words: str) -> None:
    assert say_when(at(then), now=at("2026-03-10T10:00")) == words
