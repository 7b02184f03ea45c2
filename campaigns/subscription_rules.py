"""The calendar of subscriptions, pure: when deliveries come, when members are reminded, when a debt is asked for.

All days are the shop's. A rhythm counts from its anchor, so the 31st comes back after a short month, and 29 February
after three common years; a holiday moves one delivery and not the rhythm.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from campaigns.models.subscription import CycleUnit, OnHoliday
from crm.base.calendar import end_of_holiday, eve_of_holiday, months_later
from crm.base.clock import SHANGHAI

LADDER = (7, 3, 0)  # days before a delivery on which its member is reminded
DUNNING = (1, 3, 5)  # days after `owed_since` on which an unpaid order is asked for
GIVE_UP = 7  # days after which it is cancelled, and the subscription waits
SHORTEST_MONTH = 28
REMIND_HOURS = range(10, 21)  # shop-local: nobody is reminded, and no colleague asked, at night
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How often something comes."""

    unit: CycleUnit
    every: int
    on_holiday: OnHoliday = OnHoliday.BEFORE

    @property
    def least_days(self) -> int:
        """How near two deliveries can be."""
        return self.every * (SHORTEST_MONTH if self.unit is CycleUnit.MONTHS else 1)

    def nominal(self, anchor: date, step: int) -> date:
        """The day of the delivery `step` cycles after the anchor, holidays not considered."""
        if self.unit is CycleUnit.MONTHS:
            return months_later(anchor, self.every * step)
        return anchor + timedelta(days=self.every * step)

    def due(self, day: date, *, today: date) -> date:
        """The day on which what is meant for `day` leaves. Brought forward it never lies in the past."""
        if self.on_holiday is OnHoliday.SAME:
            return day
        before = eve_of_holiday(day)
        if self.on_holiday is OnHoliday.BEFORE and before > today:
            return before
        return end_of_holiday(day)

    def next(self, anchor: date, step: int, *, after: date) -> tuple[int, date]:
        """The first step behind `step` whose delivery lies behind `after`, and its day."""
        if self.unit is CycleUnit.DAYS:  # a subscription that slept for years need not count through them
            step = max(step, (after - anchor).days // self.every - 1)
        while True:
            step += 1
            day = self.due(self.nominal(anchor, step), today=after)
            if day > after:
                return step, day


def may_remind(now: datetime) -> bool:
    """Whether it is an hour to be reminded in; what was due at night goes out in the morning."""
    return now.astimezone(SHANGHAI).hour in REMIND_HOURS


def ladder_of(rhythm: Rhythm) -> tuple[int, ...]:
    """The steps of the ladder that fit between two deliveries."""
    return tuple(days for days in LADDER if days < rhythm.least_days)


def reminder_on(due_on: date, ladder: tuple[int, ...], *, today: date) -> str:
    """The newest step whose day has come; empty when none has. Of several that were slept through one is enough."""
    left = (due_on - today).days
    come = [days for days in ladder if left <= days]
    return f"d{min(come)}" if come and left >= 0 else ""


def next_reminder(due_on: date, ladder: tuple[int, ...], *, today: date) -> date | None:
    """The day of the first step that has not come yet."""
    return min((at for days in ladder if (at := due_on - timedelta(days=days)) > today), default=None)


def owed_since(due_on: date, ordered_on: date) -> date:
    """From when on an unpaid order is overdue: nobody is dunned a week ahead because they confirmed early."""
    return max(ordered_on, due_on - DAY)


def dunning_on(since: date, *, today: date) -> str:
    """The newest step of asking for money whose day has come; "gone" when it is over; empty before."""
    days = (today - since).days
    if days >= GIVE_UP:
        return "gone"
    come = [each for each in DUNNING if days >= each]
    return f"p{max(come)}" if come else ""


def next_dunning(since: date, *, today: date) -> date:
    """The day on which an unpaid order is looked at next."""
    return min(at for days in (*DUNNING, GIVE_UP) if (at := since + timedelta(days=days)) > today)


def is_gift(bought: int, gift_every: int) -> bool:
    """Whether the next delivery is free: 买3送1 is every fourth, after three that were paid."""
    return gift_every > 0 and bought >= gift_every - 1
