"""Variants and holdout: who is in which, by a stable hash of campaign and member; and what the difference was.

The same arithmetic for a number and for a column (segment_leaves.bucket_of), so a plan is one INSERT … SELECT and a
page can say of one member where they are. The holdout's salt is the campaign's: its members stay out in every run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import Any

import sqlalchemy as sa

from crm.segment_leaves import bucket_of

BUCKETS = 10_000
CONFIDENCE = 0.95
LEAST_MEMBERS = 30  # of each arm, before one is called the winner


def in_holdout(campaign_id: int, percent: int, member_id: Any) -> Any:
    """Whether this member (a number or a column) is deliberately not contacted."""
    return bucket_of(member_id, f"holdout:{campaign_id}") < percent * BUCKETS // 100


def ends_of(shares: Sequence[int]) -> list[int]:
    """Where each variant's buckets end; the last at 10,000."""
    whole, so_far, ends = sum(shares), 0, []
    for share in shares:
        so_far += share
        ends.append(so_far * BUCKETS // whole)
    return ends


def variant_of(campaign_id: int, shares: Sequence[int], member_id: int) -> int:
    """The place of a member's variant among `shares`."""
    place = bucket_of(member_id, f"variant:{campaign_id}")
    return next(number for number, end in enumerate(ends_of(shares)) if place < end)


def variant_column(campaign_id: int, shares: Sequence[int], member_id: Any) -> sa.ColumnElement[int]:
    """SQL for variant_of()."""
    if len(shares) == 1:
        return sa.literal(0)
    place = bucket_of(member_id, f"variant:{campaign_id}")
    *firsts, _last = ends_of(shares)
    return sa.case(*((place < end, number) for number, end in enumerate(firsts)), else_=len(firsts))


# Read-out


@dataclass(frozen=True, slots=True)
class Interval:
    """Where a figure lies with 95 % confidence (less often wrong where several are compared)."""

    low: float
    high: float

    @property
    def is_above_zero(self) -> bool:
        return self.low > 0


@dataclass(frozen=True, slots=True)
class Arm:
    """One group of an experiment: how many, how many of them bought, what they spent and the sum of its squares."""

    name: str
    members: int
    buyers: int
    revenue_fen: int
    squares: float  # of each member's revenue in fen

    @property
    def rate(self) -> float:
        return self.buyers / self.members if self.members else 0.0

    @property
    def revenue_each(self) -> float:
        """Fen per member, buyers or not."""
        return self.revenue_fen / self.members if self.members else 0.0

    @property
    def variance(self) -> float:
        """Of revenue between members, unbiased; 0 of fewer than two."""
        if self.members < 2:
            return 0.0
        return max(0.0, (self.squares - self.revenue_fen * self.revenue_each) / (self.members - 1))

    def together(self, other: "Arm") -> "Arm":
        """Both groups as one, under this name."""
        return Arm(
            self.name,
            self.members + other.members,
            self.buyers + other.buyers,
            self.revenue_fen + other.revenue_fen,
            self.squares + other.squares,
        )


def z_for(confidence: float) -> float:
    """How many standard errors on either side hold `confidence` of a normal distribution."""
    return NormalDist().inv_cdf((1 + confidence) / 2)


def wilson(buyers: int, members: int, *, confidence: float = CONFIDENCE) -> Interval:
    """Of a share; stays within 0 and 1 and is honest at both ends. Source: Wilson, JASA 22 (1927)."""
    if not members:
        return Interval(0.0, 1.0)
    z, rate = z_for(confidence), buyers / members
    middle = (rate + z * z / (2 * members)) / (1 + z * z / members)
    half = z * sqrt(rate * (1 - rate) / members + z * z / (4 * members * members)) / (1 + z * z / members)
    return Interval(max(0.0, middle - half), min(1.0, middle + half))


def difference(one: Arm, other: Arm, *, confidence: float = CONFIDENCE) -> Interval:
    """Of two shares, `one` minus `other`, from their Wilson intervals. Source: Newcombe, Stat. Med. 17 (1998)."""
    first = wilson(one.buyers, one.members, confidence=confidence)
    second = wilson(other.buyers, other.members, confidence=confidence)
    apart = one.rate - other.rate
    below = sqrt((one.rate - first.low) ** 2 + (second.high - other.rate) ** 2)
    above = sqrt((first.high - one.rate) ** 2 + (other.rate - second.low) ** 2)
    return Interval(apart - below, apart + above)


def revenue_difference(one: Arm, other: Arm, *, confidence: float = CONFIDENCE) -> Interval | None:
    """Of revenue per member in fen, by Welch's t; None where either group has fewer than two members."""
    if one.members < 2 or other.members < 2:
        return None
    first, second = one.variance / one.members, other.variance / other.members
    apart = one.revenue_each - other.revenue_each
    if first + second == 0:
        return Interval(apart, apart)
    freedom = (first + second) ** 2 / (first**2 / (one.members - 1) + second**2 / (other.members - 1))
    half = _t(z_for(confidence), freedom) * sqrt(first + second)
    return Interval(apart - half, apart + half)


def _t(z: float, freedom: float) -> float:
    """Student's quantile from the normal one. Source: Cornish-Fisher, as in Abramowitz & Stegun 26.7.5."""
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / freedom + second / freedom**2 + third / freedom**3


def winner(arms: Sequence[Arm]) -> str | None:
    """The arm that more people bought in than in each of the others, if chance does not explain it.

    Every pair is compared, so each is held to a stricter confidence (Bonferroni).
    """
    if len(arms) < 2 or any(arm.members < LEAST_MEMBERS for arm in arms):
        return None
    pairs = len(arms) * (len(arms) - 1) / 2
    stricter = 1 - (1 - CONFIDENCE) / pairs
    for one in arms:
        if all(difference(one, other, confidence=stricter).is_above_zero for other in arms if other is not one):
            return one.name
    return None
