"""Sequences of codes (characters, syllables) by their 1- and 2-grams: an inverted index and a forward one.

Everything is a flat numpy array: 100,000 questions take some 50 MB here, and asking one touches a few thousand numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Ints: TypeAlias = NDArray[np.integer]
Floats: TypeAlias = NDArray[np.floating]

_SHIFT = 21  # code points and syllables' numbers need 21 bits; a pair is two of them in one number


@dataclass(frozen=True, slots=True)
class Asked:
    """A question in a space: its distinct grams, ascending. Grams no wording has are foreign: negative, and rarest."""

    keys: Ints  # what a gram is called in every space
    terms: Ints
    rarity: Floats
    weights: Floats  # TF-IDF, of length 1
    is_single: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Overlap:
    """What a question and each of some wordings have in common: one number per wording, from 0 to 1."""

    singles: Floats  # cosine of single codes: what is said, in any order
    asked_share: Floats  # of the question's grams, by rarity: those the wording has
    asked_topic: Floats  # how usual in this knowledge base the question's most usual pair is that the wording lacks
    wording_topic: Floats  # the other way round: asked about 借呗, the wording speaks of 花呗


class GramSpace:
    """Immutable. `owners` says which article a sequence belongs to: rarity counts articles, not wordings."""

    def __init__(self, sequences: Sequence[Sequence[int]], owners: Sequence[int]) -> None:
        lengths = np.fromiter(map(len, sequences), np.int64, len(sequences))
        flat = np.fromiter((code for sequence in sequences for code in sequence), np.int64, int(lengths.sum()))
        rows, keys = _grams(flat, lengths)
        self._vocabulary, terms = _distinct(keys)
        size = len(self._vocabulary)
        cells, counts = np.unique(rows * size + terms, return_counts=True)
        rows, terms = np.divmod(cells, max(1, size))
        is_single = self._vocabulary < 1 << _SHIFT
        self._rarity = _rarity(np.asarray(owners, np.int64)[rows], terms, size)
        self._foreign = 1 + float(np.log(1 + len(set(owners))))
        self._usual = np.sqrt(np.exp(1 - self._rarity)) * ~is_single
        self._start = np.searchsorted(rows, np.arange(len(sequences) + 1))
        self._terms = terms.astype(np.int32)
        weights = (1 + np.log(counts)) * self._rarity[terms]
        squares = np.bincount(rows, weights * weights, len(sequences))
        self._weights = (weights / np.sqrt(squares[rows])).astype(np.float32)
        self._single_length = np.sqrt(np.bincount(rows, np.square(self._weights) * is_single[terms], len(sequences)))
        by_term = np.argsort(terms, kind="stable")
        self._holders = rows[by_term].astype(np.int32)
        self._holder_weights = self._weights[by_term]
        self._holder_start = np.searchsorted(terms[by_term], np.arange(size + 1))

    def ask(self, sequence: Sequence[int]) -> Asked:
        """`sequence`, not empty, in the terms of this space."""
        keys, counts = np.unique(_keys(np.asarray(sequence, np.int64)), return_counts=True)
        places = np.searchsorted(self._vocabulary, keys)
        places[places == len(self._vocabulary)] = -1
        foreign = self._vocabulary[places] != keys if len(self._vocabulary) else np.ones(len(keys), np.bool_)
        terms = np.where(foreign, -1 - np.arange(len(keys)), places)
        rarity = np.full(len(keys), self._foreign)
        rarity[~foreign] = self._rarity[places[~foreign]]
        weights = (1 + np.log(counts)) * rarity
        order = np.argsort(terms)
        length = np.sqrt(weights @ weights)
        return Asked(keys[order], terms[order], rarity[order], weights[order] / length, (keys < 1 << _SHIFT)[order])

    def nearest(self, asked: Asked, *, room: int, reads: int) -> Ints:
        """Up to `room` sequences by cosine over their rarest common grams; reads about `reads` postings.

        The rarest come first, for they tell the most and are the quickest to read: over 100,000 questions the common
        half of a question's grams has 99 % of the postings.
        """
        known = asked.terms >= 0
        terms, weights = asked.terms[known], asked.weights[known]
        begin, end = self._holder_start[terms], self._holder_start[terms + 1]
        order = np.argsort(end - begin)
        taken = order[: max(1, int(np.searchsorted(np.cumsum((end - begin)[order]), reads, side="right")))]
        if not len(taken):
            return np.zeros(0, np.int64)
        ends = np.minimum(end, begin + reads)
        slices = [slice(b, e) for b, e in zip(begin[taken].tolist(), ends[taken].tolist(), strict=True)]
        holders = np.concatenate([self._holders[one] for one in slices])
        dots = np.concatenate([self._holder_weights[one] * w for one, w in zip(slices, weights[taken], strict=True)])
        found, places = _distinct(holders)
        if len(found) > room:
            found = found[np.argpartition(-np.bincount(places, dots), room)[:room]]
        return found.astype(np.int64)

    def overlap(self, asked: Asked, sequences: Ints) -> Overlap:
        """Every measure of a question against some sequences; at least one, each of at least one code."""
        begin = self._start[sequences]
        lengths = self._start[sequences + 1] - begin
        offsets = np.cumsum(lengths) - lengths
        rows = np.repeat(np.arange(len(sequences)), lengths)
        at = np.arange(len(rows)) + (begin - offsets)[rows]
        terms = self._terms[at]
        places = np.minimum(np.searchsorted(asked.terms, terms), len(asked.terms) - 1)
        shared = asked.terms[places] == terms
        common = np.zeros((len(sequences), len(asked.terms)))
        common[rows[shared], places[shared]] = self._weights[at[shared]]
        lacks = common == 0
        singles = asked.weights * asked.is_single
        lengths_of_singles = self._single_length[sequences] * np.sqrt(singles @ singles)
        usual = np.where(asked.terms >= 0, self._usual[asked.terms], 0.0)
        return Overlap(
            common @ singles / lengths_of_singles,
            1 - lacks @ asked.rarity / asked.rarity.sum(),
            (usual * lacks).max(axis=1),
            np.maximum.reduceat(self._usual[terms] * ~shared, offsets),
        )

    def singles(self, asked: Asked, sequences: Ints) -> Floats:
        """The first measure of overlap() alone, in a third of the time."""
        begin = self._start[sequences]
        lengths = self._start[sequences + 1] - begin
        offsets = np.cumsum(lengths) - lengths
        at = np.arange(int(lengths.sum())) + np.repeat(begin - offsets, lengths)
        terms = self._terms[at]
        places = np.minimum(np.searchsorted(asked.terms, terms), len(asked.terms) - 1)
        weights = asked.weights * asked.is_single
        products = self._weights[at] * weights[places] * (asked.terms[places] == terms)
        cosines: Floats = np.add.reduceat(products, offsets) / self._single_length[sequences]
        cosines /= np.sqrt(weights @ weights)
        return cosines

    def holders(self, *sequence: int) -> int:
        """How many sequences have this code, or this pair of codes."""
        key = _keys(np.asarray(sequence, np.int64))[-1]
        place = int(np.searchsorted(self._vocabulary, key))
        if place == len(self._vocabulary) or self._vocabulary[place] != key:
            return 0
        return int(self._holder_start[place + 1] - self._holder_start[place])

    def codes(self) -> list[int]:
        """Every code that occurs."""
        codes: list[int] = self._vocabulary[self._vocabulary < 1 << _SHIFT].tolist()
        return codes


def gram_keys(sequence: Sequence[int]) -> list[int]:
    """The numbers of a sequence's 1- and 2-grams."""
    return [*sequence, *(left << _SHIFT | right for left, right in pairwise(sequence))]


def _grams(flat: Ints, lengths: Ints) -> tuple[Ints, Ints]:
    """Row and key of every 1- and 2-gram."""
    rows = np.repeat(np.arange(len(lengths)), lengths)
    together = rows[:-1] == rows[1:]
    pairs = (flat[:-1] << _SHIFT | flat[1:])[together]
    return np.concatenate([rows, rows[:-1][together]]), np.concatenate([flat, pairs])


def _distinct(values: Ints) -> tuple[Ints, Ints]:
    """The distinct values, ascending, and the place of each value among them. numpy.unique, in half the time."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    is_new = np.ones(len(values), np.bool_)
    is_new[1:] = ordered[1:] != ordered[:-1]
    places = np.empty(len(values), np.int64)
    places[order] = np.cumsum(is_new) - 1
    return ordered[is_new], places


def _keys(flat: Ints) -> Ints:
    return np.concatenate([flat, flat[:-1] << _SHIFT | flat[1:]])


def _rarity(owners: Ints, terms: Ints, size: int) -> Floats:
    """Inverse frequency by article, not by wording: eight ways to say 包邮 in one article do not make it common."""
    if not len(owners):
        return np.ones(size)
    _, numbers = _distinct(owners)
    held = _distinct(numbers * size + terms)[0] % size
    return np.asarray(1 + np.log((2 + numbers.max()) / (1 + np.bincount(held, minlength=size))))
