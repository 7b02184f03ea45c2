"""The rules of RFM: scores by rank or by fixed cut-offs, the eight segments and three tiers, and the why in words.

A score by rank is 1 + floor(5 × how many do worse / n), equal values scoring equal. That is the same as four limits,
each the value that lies where a fifth ends; so one member is scored later without looking at the others.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crm.models.rfm import Segment, Tier

Ints = NDArray[np.int64]

WINDOW_DAYS = 365
FIFTHS = (1, 2, 3, 4)
BY_HIGHS: Mapping[tuple[bool, bool, bool], Segment] = {  # is R, F, M at or above the mean score?
    (True, True, True): Segment.IMPORTANT_VALUE,
    (True, False, True): Segment.IMPORTANT_GROW,
    (False, True, True): Segment.IMPORTANT_KEEP,
    (False, False, True): Segment.IMPORTANT_RECALL,
    (True, True, False): Segment.VALUE,
    (True, False, False): Segment.GROW,
    (False, True, False): Segment.KEEP,
    (False, False, False): Segment.RECALL,
}
TIERS: Mapping[Segment, Tier] = {
    Segment.IMPORTANT_VALUE: Tier.HIGH_VALUE,  # spends much and came lately: look after them
    Segment.IMPORTANT_GROW: Tier.HIGH_VALUE,
    Segment.VALUE: Tier.POTENTIAL,  # came lately, spends little yet: grow the basket
    Segment.GROW: Tier.POTENTIAL,
    Segment.IMPORTANT_KEEP: Tier.DORMANT,  # has not come for long: wake them, the important ones first
    Segment.IMPORTANT_RECALL: Tier.DORMANT,
    Segment.KEEP: Tier.DORMANT,
    Segment.RECALL: Tier.DORMANT,
}
_SEGMENTS = tuple(Segment)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cutoffs:
    """What each score takes, from 2 to 5, and from which score on a dimension counts as high.

    r_at_most: days since the last paid order, falling. f_at_least: orders, m_at_least: fen, both rising.
    """

    r_at_most: tuple[int, int, int, int]
    f_at_least: tuple[int, int, int, int]
    m_at_least: tuple[int, int, int, int]
    high_from: tuple[int, int, int]  # R, F, M: the smallest score not below the mean
    by_rank: bool = True  # False: the shop's own limits

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "Cutoffs":
        fields: Any = {name: tuple(value) if isinstance(value, list) else value for name, value in body.items()}
        return cls(**fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedCutoffs:
    """Limits that the shop sets instead of ranks: scores 2 to 5. Raises ValueError when they do not rise."""

    r_at_most: tuple[int, int, int, int]  # e.g. 180, 90, 60, 30 days
    f_at_least: tuple[int, int, int, int]  # e.g. 2, 3, 5, 10 orders
    m_at_least: tuple[int, int, int, int]  # e.g. 10000, 30000, 100000, 300000 fen

    def __post_init__(self) -> None:
        if list(self.r_at_most) != sorted(self.r_at_most, reverse=True):
            raise ValueError("r_at_most: a better score takes fewer days")
        for name in ("f_at_least", "m_at_least"):
            if list(getattr(self, name)) != sorted(getattr(self, name)):
                raise ValueError(f"{name}: a better score takes more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How the shop counts: the days before the as-of day that are looked at, and its own limits if it has any."""

    window_days: int = WINDOW_DAYS
    fixed: FixedCutoffs | None = None

    def __post_init__(self) -> None:
        if self.window_days < 1:
            raise ValueError("window_days: at least one day")


@dataclass(frozen=True, slots=True)
class Population:
    """Who has at least one counted order in the window. Arrays of one length, one place a member."""

    member_id: Ints
    recency_days: Ints
    frequency: Ints
    monetary_fen: Ints

    def __len__(self) -> int:
        return len(self.member_id)


@dataclass(frozen=True, slots=True)
class Score:
    """One member's scores, 1 to 5, and segment."""

    r: int
    f: int
    m: int
    segment: Segment

    @property
    def tier(self) -> Tier:
        return TIERS[self.segment]

    def __str__(self) -> str:
        return f"{self.r}-{self.f}-{self.m}"


@dataclass(frozen=True, slots=True)
class Scores:
    """Everybody's scores: arrays in the order of the population. `segment` is the place in Segment."""

    r: Ints
    f: Ints
    m: Ints
    segment: Ints


def cutoffs_of(people: Population, rule: Rule) -> Cutoffs | None:
    """The limits that score `people` as the rule says; None when there is nobody."""
    if not len(people):
        return None
    if rule.fixed is None:
        limits = (
            _falling(people.recency_days),
            _rising(people.frequency),
            _rising(people.monetary_fen),
        )
    else:
        limits = (rule.fixed.r_at_most, rule.fixed.f_at_least, rule.fixed.m_at_least)
    r, f, m = limits
    bare = Cutoffs(r_at_most=r, f_at_least=f, m_at_least=m, high_from=(1, 1, 1), by_rank=rule.fixed is None)
    scored = score_all(people, bare)
    high_from = (_mean_up(scored.r), _mean_up(scored.f), _mean_up(scored.m))
    return Cutoffs(r_at_most=r, f_at_least=f, m_at_least=m, high_from=high_from, by_rank=bare.by_rank)


def score_all(people: Population, cutoffs: Cutoffs) -> Scores:
    """Score everybody by limits. O(n)."""
    r = 5 - np.searchsorted(np.array(cutoffs.r_at_most[::-1]), people.recency_days, side="left")
    f = 1 + np.searchsorted(np.array(cutoffs.f_at_least), people.frequency, side="right")
    m = 1 + np.searchsorted(np.array(cutoffs.m_at_least), people.monetary_fen, side="right")
    r_high, f_high, m_high = cutoffs.high_from
    place = ((r >= r_high) * 4 + (f >= f_high) * 2 + (m >= m_high)).astype(np.int64)
    return Scores(r, f, m, _PLACES[place])


def score_one(recency_days: int, frequency: int, monetary_fen: int, cutoffs: Cutoffs) -> Score:
    """Score one member by limits. O(1)."""
    r = 5 - bisect_left(cutoffs.r_at_most[::-1], recency_days)
    f = 1 + bisect_right(cutoffs.f_at_least, frequency)
    m = 1 + bisect_right(cutoffs.m_at_least, monetary_fen)
    return Score(r, f, m, segment_of(r, f, m, cutoffs))


def segment_of(r: int, f: int, m: int, cutoffs: Cutoffs) -> Segment:
    r_high, f_high, m_high = cutoffs.high_from
    return BY_HIGHS[r >= r_high, f >= f_high, m >= m_high]


def codes(scores: Scores) -> Ints:
    """One number per member for segment and scores, never 0: (place of the segment + 1), r, f, m as digits."""
    return (scores.segment + 1) * 1000 + scores.r * 100 + scores.f * 10 + scores.m


def decode(code: int) -> Score | None:
    """What `codes` made; None for 0, a member without a score."""
    if code == 0:
        return None
    return Score(code // 100 % 10, code // 10 % 10, code % 10, _SEGMENTS[code // 1000 - 1])


def why(score: Score, recency_days: int, frequency: int, monetary_fen: int, cutoffs: Cutoffs) -> list[str]:
    """Why this score, in three sentences and one on the segment, for a person to read."""
    highs = [
        f"{letter} {value} 分{'不低于' if value >= limit else '低于'}平均（{limit} 分起算高）"
        for letter, value, limit in zip("RFM", (score.r, score.f, score.m), cutoffs.high_from, strict=True)
    ]
    last = "今天刚付过款" if recency_days == 0 else f"距上次付款 {recency_days} 天"
    return [
        f"R={score.r}：{last}；{_bounds(score.r, [f'{max(days, 0)} 天' for days in cutoffs.r_at_most], '不超过')}",
        f"F={score.f}：付款 {frequency} 单；{_bounds(score.f, [f'{n} 单' for n in cutoffs.f_at_least], '至少')}",
        f"M={score.m}：净消费 {_yuan(monetary_fen)}；"
        + _bounds(score.m, [_yuan(fen) for fen in cutoffs.m_at_least], "至少"),
        f"{score.segment}：" + "，".join(highs),
    ]


def _bounds(score: int, limits: Sequence[str], word: str) -> str:
    own = f"{score} 分要{word} {limits[score - 2]}" if score > 1 else "1 分是最低档"
    return own if score == 5 else f"{own}，{score + 1} 分要{word} {limits[score - 1]}"


def _yuan(fen: int) -> str:
    return f"{'-' if fen < 0 else ''}¥{abs(fen) // 100:,}.{abs(fen) % 100:02d}"


def _fifth_ends(count: int) -> list[int]:
    """How many must do worse for the scores 2 to 5: the ceilings of one to four fifths."""
    return [-(-fifth * count // 5) for fifth in FIFTHS]


def _rising(values: Ints) -> tuple[int, int, int, int]:
    """The smallest whole numbers that score 2 to 5, where more is better."""
    places = [worse - 1 for worse in _fifth_ends(len(values))]
    found = np.partition(values, places)[places]
    return _four(found + 1)


def _falling(values: Ints) -> tuple[int, int, int, int]:
    """The largest whole numbers that score 2 to 5, where less is better."""
    places = [len(values) - worse for worse in _fifth_ends(len(values))]
    found = np.partition(values, places)[places]
    return _four(found - 1)


def _four(values: Ints) -> tuple[int, int, int, int]:
    a, b, c, d = (int(value) for value in values)
    return a, b, c, d


def _mean_up(scores: Ints) -> int:
    return -(-int(scores.sum()) // len(scores))


_PLACES = np.array([_SEGMENTS.index(BY_HIGHS[place >= 4, place % 4 >= 2, place % 2 == 1]) for place in range(8)])
