"""Variants and holdout: who is in which, by a stable hash of campaign and member.

The same arithmetic for a number and for a column (segment_leaves.bucket_of), so a plan is one INSERT … SELECT and a
page can say of one member where they are. The holdout's salt is the campaign's: its members stay out in every run.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from crm.segment_leaves import bucket_of

BUCKETS = 10_000


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
