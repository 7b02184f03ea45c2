"""What counts as the same question in this shop, learnt from questions it calls the same: a linear map of meanings.

A model of meaning was made for everything at once. In one shop all questions are about the same few things, and what
tells 花呗怎么还款 from 花呗怎么开通 is a small part of their vectors. The map turns that part up: pairs of wordings of
one article are brought together, wordings of others are held apart (InfoNCE; van den Oord et al., 2018).
"""

from collections.abc import Hashable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Vectors: TypeAlias = NDArray[np.float32]

FEWEST = 30  # subjects with two wordings; from fewer nothing is learnt
TOGETHER = 256  # subjects held against each other in one step
STEPS = 100
STEP = 3e-4
WARMTH = 0.1  # how sharply the closest wrong ones are pushed away
STAY = 1.0  # pull back to the model as it is


class Subjects:
    """Which things are about the same, joined step by step; each subject has a number."""

    def __init__(self) -> None:
        self._above: dict[Hashable, Hashable] = {}
        self._numbers: dict[Hashable, int] = {}

    def join(self, left: Hashable, right: Hashable) -> None:
        self._above[self._top(left)] = self._top(right)

    def of(self, one: Hashable) -> int:
        return self._numbers.setdefault(self._top(one), len(self._numbers))

    def _top(self, one: Hashable) -> Hashable:
        way = []
        while (above := self._above.get(one, one)) != one:
            way.append(one)
            one = above
        self._above.update(dict.fromkeys(way, one))
        return one


def fit(vectors: Vectors, subjects: Sequence[int]) -> Vectors | None:
    """A square map for these vectors (centred, of length 1), of which those of one subject mean the same.

    None where there are too few to learn from. A second of one core for a thousand wordings; the same in, the same out.
    """
    groups = [one for one in _grouped(subjects) if len(one) > 1]
    if len(groups) < FEWEST:
        return None
    chance, size = np.random.default_rng(7), vectors.shape[1]
    same = np.eye(size, dtype=np.float32)
    lens, first, second = same.copy(), np.zeros_like(same), np.zeros_like(same)
    for step in range(1, STEPS + 1):  # Adam (Kingma and Ba, 2015)
        taken = [groups[one] for one in chance.permutation(len(groups))[:TOGETHER]]
        pairs = np.array([chance.choice(group, 2, replace=False) for group in taken])
        slope = _slope(lens, vectors[pairs[:, 0]], vectors[pairs[:, 1]]) + STAY / size * (lens - same)
        first, second = 0.9 * first + 0.1 * slope, 0.999 * second + 0.001 * slope * slope
        pace = STEP * min(1.0, 2 - 2 * step / STEPS)
        lens -= pace * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
    return lens


def _slope(lens: Vectors, left: Vectors, right: Vectors) -> Vectors:
    """Of the surprise that each is closest to its own counterpart, by the map."""
    mine, my_length = _through(lens, left)
    theirs, their_length = _through(lens, right)
    close: Vectors = mine @ theirs.T / WARMTH
    excess: Vectors = (_shares(close, axis=1) + _shares(close, axis=0)).astype(np.float32)
    excess[np.diag_indices(len(left))] -= 2
    excess /= 2 * len(left) * WARMTH
    left_slope: Vectors = excess @ theirs
    right_slope: Vectors = excess.T @ mine
    return np.asarray(_back(left, mine, my_length, left_slope) + _back(right, theirs, their_length, right_slope))


def _through(lens: Vectors, vectors: Vectors) -> tuple[Vectors, Vectors]:
    """What the map makes of them, of length 1, and the length it was before."""
    mapped = vectors @ lens
    length = np.linalg.norm(mapped, axis=1, keepdims=True).clip(1e-9)
    return mapped / length, length


def _back(vectors: Vectors, unit: Vectors, length: Vectors, slope: Vectors) -> Vectors:
    along = (slope * unit).sum(axis=1, keepdims=True)
    back: Vectors = vectors.T @ ((slope - along * unit) / length)
    return back


def _shares(close: Vectors, axis: int) -> Vectors:
    shares = np.exp(close - close.max(axis=axis, keepdims=True))
    kept: Vectors = shares / shares.sum(axis=axis, keepdims=True)
    return kept


def _grouped(subjects: Sequence[int]) -> list[NDArray[np.int64]]:
    groups: dict[int, list[int]] = {}
    for place, subject in enumerate(subjects):
        groups.setdefault(subject, []).append(place)
    return [np.array(group) for group in groups.values()]
