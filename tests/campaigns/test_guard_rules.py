"""Quiet hours, caps and quotas: what they hold, until when, and that nothing slips through."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaigns import gate_words
from campaigns.guard_rules import FrequencyCap, Gate, PlatformQuota, QuietHours, Verdict
from crm.base.clock import SHANGHAI, local_day

NIGHT = QuietHours(time(22), time(8))
NAP = QuietHours(time(12, 30), time(14))


def shanghai(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=SHANGHAI).astimezone(UTC)


@pytest.mark.parametrize(
    ("quiet", "now", "until"),
    [
        (NIGHT, "2026-03-09 21:59", None),
        (NIGHT, "2026-03-09 22:00", "2026-03-10 08:00"),
        (NIGHT, "2026-03-10 00:00", "2026-03-10 08:00"),
        (NIGHT, "2026-03-10 07:59", "2026-03-10 08:00"),
        (NIGHT, "2026-03-10 08:00", None),
        (NAP, "2026-03-10 12:29", None),
        (NAP, "2026-03-10 12:30", "2026-03-10 14:00"),
        (NAP, "2026-03-10 14:00", None),
    ],
)
def test_quiet_hours_end_when_they_say(quiet: QuietHours, now: str, until: str | None) -> None:
    assert quiet.until(shanghai(now)) == (until and shanghai(until))


def test_quiet_hours_follow_the_shops_clock_through_a_change_of_time() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    evening = datetime(2026, 3, 28, 23, 0, tzinfo=berlin)  # the night in which 02:00 becomes 03:00
    until = NIGHT.until(evening.astimezone(UTC), zone=berlin)
    assert until == datetime(2026, 3, 29, 8, 0, tzinfo=berlin)
    assert until - evening == timedelta(hours=8)


@given(
    touches=st.integers(1, 4),
    hours=st.integers(1, 72),
    wishes=st.lists(st.integers(0, 60 * 24 * 10), min_size=1, max_size=25),
)
def test_no_window_of_any_place_holds_more_touches_than_the_cap(touches: int, hours: int, wishes: list[int]) -> None:
    """Whoever wants to be touched is, as soon as the cap says; then every window is counted."""
    cap, start = FrequencyCap(touches, timedelta(hours=hours)), shanghai("2026-03-09 10:00")
    done: list[datetime] = []
    for minute in sorted(wishes):
        now = max(start + timedelta(minutes=minute), done[-1] if done else start)
        free_at = cap.free_at(done, now=now)
        done.append(free_at or now)
        assert cap.free_at(done[:-1], now=done[-1]) is None
    for end in done:
        assert sum(end - cap.window < at <= end for at in done) <= touches


@given(
    limits=st.tuples(*[st.none() | st.integers(1, 5)] * 3),
    steps=st.lists(st.integers(0, 9), min_size=1, max_size=60),
)
def test_no_day_week_or_month_holds_more_broadcasts_than_its_quota(
    limits: tuple[int | None, int | None, int | None], steps: list[int]
) -> None:
    quota, today = PlatformQuota(*limits), date(2026, 1, 30)
    used: list[date] = []
    for step in steps:
        today += timedelta(days=step)
        free_on = quota.free_on(used, today=today)
        assert free_on is None or free_on > today
        if free_on is None:
            used.append(today)
    per_day, per_week, per_month = limits
    for day in used:
        assert per_day is None or used.count(day) <= per_day
        weeks = sum(one.isocalendar()[:2] == day.isocalendar()[:2] for one in used)
        assert per_week is None or weeks <= per_week
        assert sum((one.year, one.month) == (day.year, day.month) for one in used) <= (per_month or 31)


def test_what_is_held_is_held_until_an_hour_that_is_not_quiet() -> None:
    gate, now = Gate(), shanghai("2026-03-09 23:30")
    decision = gate.when([shanghai("2026-03-09 07:00")], [local_day(now)], now=now)
    assert (decision.verdict, decision.code) == (Verdict.HELD, "gate.quiet_hours")
    assert decision.until == shanghai("2026-03-10 08:00")
    assert gate_words.say(decision) == "03-10 08:00 起再发：免打扰时段"
    late = gate.when([shanghai("2026-03-09 23:10")], None, now=now)
    assert (late.code, late.until) == ("gate.frequency", shanghai("2026-03-11 08:00"))
    assert gate_words.say(late) == "03-11 08:00 起再发：24 小时内已有 1 次触达"
