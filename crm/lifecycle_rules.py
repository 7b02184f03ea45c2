"""The rules of the lifecycle: where a member stands follows from the days they bought on and today, and nothing else.

So a late order, a refund or a merge ends in the same stage, whichever came first.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from math import floor
from statistics import median
from typing import Any

from crm.models.lifecycle import MoveReason, Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Where the stages end. Days are shop-local calendar days."""

    new_days: int = 30  # after the first order, and after the first one since they were lost
    loyal_orders: int = 4  # within the window
    window_days: int = 365
    rhythm_purchases: int = 3  # fewer make no rhythm of one's own
    at_risk_days: int = 60  # of silence, without a rhythm
    lapsed_days: int = 120
    at_risk_times: float = 1.5  # the median days between two purchases
    lapsed_times: float = 3.0


@dataclass(frozen=True, slots=True)
class Purchase:
    """One shop-local day on which a member paid; several orders of a day are one purchase."""

    day: date
    orders: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Where a member stands and why. check_on: the first day on which silence would change it; None: never."""

    stage: Stage
    reason: MoveReason
    facts: dict[str, Any]
    check_on: date | None = None
    rhythm_days: float | None = None


USUAL = Limits()


def judge(purchases: Sequence[Purchase], today: date, limits: Limits = USUAL) -> Verdict:
    """Where a member with these purchases, oldest first, stands today. O(n log n) in their own purchases."""
    if not purchases:
        return Verdict(stage=Stage.LEAD, reason=MoveReason.JOINED, facts={})
    days = [purchase.day for purchase in purchases]
    rhythm = _rhythm(days, limits)
    at_risk_after, lapsed_after = _patience(rhythm, limits)
    silent, last = (today - days[-1]).days, days[-1]
    since_first, returned_on = (today - days[0]).days, _returned_on(days, limits)
    window_start = today - timedelta(days=limits.window_days)
    orders = sum(purchase.orders for purchase in purchases if purchase.day >= window_start)
    facts: dict[str, Any] = {"silent_days": silent, "rhythm_days": rhythm, "orders": orders}
    stage, reason = Stage.ACTIVE, MoveReason.ON_RHYTHM
    if since_first <= limits.new_days:
        stage, reason, facts["since_first_days"] = Stage.NEW, MoveReason.FIRST_ORDER, since_first
    elif silent > lapsed_after:
        stage, reason, facts["limit_days"] = Stage.LAPSED, MoveReason.SILENT_LONG, lapsed_after
    elif silent > at_risk_after:
        stage, reason, facts["limit_days"] = Stage.AT_RISK, MoveReason.SILENT, at_risk_after
    elif returned_on is not None and (today - returned_on).days <= limits.new_days:
        stage, reason, facts["returned_on"] = Stage.WON_BACK, MoveReason.RETURNED, returned_on.isoformat()
    elif orders >= limits.loyal_orders:
        stage, reason = Stage.LOYAL, MoveReason.OFTEN
    turns = [
        days[0] + timedelta(days=limits.new_days + 1),
        last + timedelta(days=floor(at_risk_after) + 1),
        last + timedelta(days=floor(lapsed_after) + 1),
        *([returned_on + timedelta(days=limits.new_days + 1)] if returned_on else []),
        *_leaves_loyal(purchases, orders, window_start, limits),
    ]
    check_on = min((turn for turn in turns if turn > today), default=None)
    return Verdict(stage=stage, reason=reason, facts=facts, check_on=check_on, rhythm_days=rhythm)


def _rhythm(days: Sequence[date], limits: Limits) -> float | None:
    """The median days between two purchases; None when there are too few to have one."""
    if len(days) < limits.rhythm_purchases:
        return None
    return float(median((later - earlier).days for earlier, later in pairwise(days)))


def _patience(rhythm: float | None, limits: Limits) -> tuple[float, float]:
    """Days of silence after which a member is at risk, and after which they are lost."""
    if rhythm is None:
        return float(limits.at_risk_days), float(limits.lapsed_days)
    return limits.at_risk_times * rhythm, limits.lapsed_times * rhythm


def _returned_on(days: Sequence[date], limits: Limits) -> date | None:
    """The last purchase that came after they had been lost, by the rhythm they had before it."""
    for place in range(len(days) - 1, 0, -1):
        before = days[:place]
        gap = (days[place] - before[-1]).days
        was_new = (days[place] - before[0]).days <= limits.new_days
        if gap > _patience(_rhythm(before, limits), limits)[1] and not was_new:
            return days[place]
    return None


def _leaves_loyal(purchases: Sequence[Purchase], orders: int, start: date, limits: Limits) -> Iterator[date]:
    """The day on which so many orders have left the window that too few are in it for loyalty."""
    if orders < limits.loyal_orders:
        return
    for purchase in purchases:
        if purchase.day >= start:
            orders -= purchase.orders
            if orders < limits.loyal_orders:
                yield purchase.day + timedelta(days=limits.window_days + 1)
                return
