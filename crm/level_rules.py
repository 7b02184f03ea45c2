"""Levels: up at once, down only when a period and its grace have ended short of the threshold. Rules without SQL."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated

from pydantic import Field

from crm.models.loyalty import LevelReason
from crm.point_rules import Part

Days = Annotated[int, Field(ge=1, le=3650)]


class LevelRules(Part):
    """How long things last. Growth is what a member spent in the window less refunds, in fen."""

    window_days: Days = 365  # today and the days before it
    period_days: Days = 365  # so long a level is kept once reached
    grace_days: Annotated[int, Field(ge=0, le=3650)] = 30  # after a period that ended short
    refund_days: Annotated[int, Field(ge=0, le=3650)] = 15  # so long a refund undoes the rise it had paid for


@dataclass(frozen=True, slots=True)
class Step:
    """One level of the ladder."""

    id: int
    rank: int
    threshold_fen: int


@dataclass(frozen=True, slots=True)
class Held:
    """Where a member stands. level_id None, or one that is no longer on the ladder: nowhere."""

    level_id: int | None
    since_on: date
    until_on: date | None = None
    grace_until_on: date | None = None
    came_from_id: int | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Where they stand now. reason None: where they stood; in_grace: the grace begins with this look."""

    held: Held
    reason: LevelReason | None = None
    in_grace: bool = False

    @property
    def check_on(self) -> date | None:
        """The day on which time alone may change it."""
        return self.held.grace_until_on or self.held.until_on


def judge(
    held: Held | None,
    growth_fen: int,
    ladder: Sequence[Step],
    today: date,
    rules: LevelRules,
    *,
    shrunk: LevelReason | None = None,
) -> Verdict:
    """Where a member with this growth stands today.

    ladder: from the lowest level, whose threshold is 0, upwards. shrunk: growth has just become less for this reason,
    so a rise of the last refund_days that it no longer pays for is undone.
    """
    merited = max((step for step in ladder if step.threshold_fen <= growth_fen), key=lambda step: step.rank)
    if held is None:
        came_from_id = ladder[0].id if merited != ladder[0] else None
        return Verdict(_anew(merited, ladder, today, rules, came_from_id=came_from_id), LevelReason.JOINED)
    now = next((step for step in ladder if step.id == held.level_id), None)
    if now is None:
        return Verdict(_anew(merited, ladder, today, rules), LevelReason.REDEFINED)
    if merited.rank > now.rank:
        return Verdict(_anew(merited, ladder, today, rules, came_from_id=now.id), LevelReason.REACHED)
    if now == ladder[0]:
        return Verdict(Held(now.id, held.since_on))
    if growth_fen >= now.threshold_fen:
        return Verdict(_renewed(held, today, rules))
    before = next((step for step in ladder if step.id == held.came_from_id), None)
    if shrunk is not None and before is not None and today < held.since_on + timedelta(days=rules.refund_days):
        back = max(merited, before, key=lambda step: step.rank)
        return Verdict(_anew(back, ladder, today, rules), shrunk)
    return _on_short_growth(held, now, ladder, today, rules)


def keep(level_id: int, ladder: Sequence[Step], today: date, rules: LevelRules) -> Held:
    """This level from today on for a whole period."""
    return _anew(next(step for step in ladder if step.id == level_id), ladder, today, rules)


def _on_short_growth(held: Held, now: Step, ladder: Sequence[Step], today: date, rules: LevelRules) -> Verdict:
    if held.until_on is not None and today < held.until_on:
        return Verdict(held)
    begins = held.grace_until_on is None
    ends = held.grace_until_on or (held.until_on or today) + timedelta(days=rules.grace_days)
    if today < ends:
        return Verdict(Held(now.id, held.since_on, held.until_on, ends, held.came_from_id), in_grace=begins)
    below = max((step for step in ladder if step.rank < now.rank), key=lambda step: step.rank)
    return Verdict(_anew(below, ladder, today, rules), LevelReason.FELL)


def _anew(
    step: Step, ladder: Sequence[Step], today: date, rules: LevelRules, *, came_from_id: int | None = None
) -> Held:
    until = None if step == ladder[0] else today + timedelta(days=rules.period_days)
    return Held(step.id, today, until, None, came_from_id)


def _renewed(held: Held, today: date, rules: LevelRules) -> Held:
    """A period that is over begins again, from its end or, out of the grace, from today."""
    if held.until_on is not None and today < held.until_on:
        return held
    begins = today if held.grace_until_on is not None or held.until_on is None else held.until_on
    until = begins + timedelta(days=rules.period_days)
    if until <= today:  # nobody looked for a whole period
        until = today + timedelta(days=rules.period_days)
    return Held(held.level_id, held.since_on, until, None, None)
