"""How often somebody buys the same thing, and how sure that is: pure, over whole shops at once.

Of the days between purchases the median is taken, which one late order does not move. Confidence is how often the
next purchase came about then: of n intervals those within a quarter of the median, (hits + 1) / (n + 2), so that two
that agree give 0.75 and one proves nothing.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEAST_PURCHASES = 3  # different days: two intervals
NEAR = 0.25  # of the median
BELIEVED_BP = 6_000
LONGEST_DAYS = 180  # a habit slower than this needs no reminder
MOST_REMINDERS = 2
EPOCH = date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Habits:
    """One number per group, in the order of the groups given."""

    purchases: NDArray[np.int64]  # different days
    median_days: NDArray[np.float64]  # nan: fewer than two
    confidence_bp: NDArray[np.int64]
    last: NDArray[np.int64]  # days since 1970-01-01

    @property
    def believed(self) -> NDArray[np.bool_]:
        enough = (self.purchases >= LEAST_PURCHASES) & (self.confidence_bp >= BELIEVED_BP)
        with np.errstate(invalid="ignore"):
            found: NDArray[np.bool_] = enough & (self.median_days >= 1) & (self.median_days <= LONGEST_DAYS)
        return found


def habits(groups: NDArray[np.int64], days: NDArray[np.int64], count: int) -> Habits:
    """The habit of each of `count` groups; row i says that group groups[i] bought on days[i]. O(n log n).

    A day that comes twice counts once. Groups without a purchase have 0 everywhere.
    """
    order = np.lexsort((days, groups))
    groups, days = groups[order], days[order]
    fresh = np.ones(len(days), dtype=bool)
    fresh[1:] = (groups[1:] != groups[:-1]) | (days[1:] != days[:-1])
    groups, days = groups[fresh], days[fresh]
    purchases = np.bincount(groups, minlength=count)
    last = np.zeros(count, dtype=np.int64)
    last[groups] = days  # the newest of each group is written last
    inside = groups[1:] == groups[:-1]
    owner, gaps = groups[1:][inside], np.diff(days)[inside]
    medians = _medians(owner, gaps, count)
    near = np.abs(gaps - medians[owner]) <= NEAR * medians[owner]
    hits, n = np.bincount(owner[near], minlength=count), np.bincount(owner, minlength=count)
    confidence = (10_000 * (hits + 1) // (n + 2)) * (n > 0)
    return Habits(purchases, medians, confidence, last)


def _medians(owner: NDArray[np.int64], values: NDArray[Any], count: int) -> NDArray[np.float64]:
    """The median of each owner's values; nan where there are none."""
    order = np.lexsort((values, owner))
    values = values[order].astype(np.float64)
    sizes = np.bincount(owner, minlength=count)
    ends = np.cumsum(sizes)
    starts = ends - sizes
    found = np.full(count, np.nan)
    some = sizes > 0
    low, high = starts[some] + (sizes[some] - 1) // 2, starts[some] + sizes[some] // 2
    found[some] = (values[low] + values[high]) / 2
    return found


def runs_out(last_on: date, median_days: int) -> date:
    return last_on + timedelta(days=median_days)


def remind_on(last_on: date, median_days: int) -> date:
    """Before it runs out: a seventh of the time it lasts, at least two days and at most a week ahead."""
    ahead = min(7, max(2, median_days // 7))
    return runs_out(last_on, median_days) - timedelta(days=min(ahead, median_days - 1))


def again_on(today: date, median_days: int) -> date:
    """When a reminder that was not followed is said once more."""
    return today + timedelta(days=max(7, median_days // 3))
