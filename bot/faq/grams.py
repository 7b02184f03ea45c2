"""Wordings by the 1- and 2-grams of their characters and of their sounds: an inverted index and a forward one.

Everything is a flat numpy array: 100,000 questions take some 100 MB here, and asking one touches a few thousand
numbers. What it costs is calls into numpy, a microsecond each at least, so characters and sounds go together.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Ints: TypeAlias = NDArray[np.integer]
Floats: TypeAlias = NDArray[np.floating]

# A code, of a character or of a sound, needs 21 bits, and a bit above them tells a sound; a pair is two codes in one
# number. So in ascending order come characters, sounds, pairs of characters, pairs of sounds.
_SOUND = 1 << 21
_SHIFT = 22
_PAIR = 1 << _SHIFT
_SOUND_PAIR = _SOUND << _SHIFT


@dataclass(frozen=True, slots=True)
class Asked:
    """A question's distinct grams, ascending, and apart from them those that any wording has.

    Grams no wording has are foreign, and rarest: they count in the totals, and find nothing.
    """

    keys: Ints  # what a gram is called in every space
    weights: Floats  # TF-IDF, of length 1 over the characters, and over the sounds
    rarity: float  # of all grams of characters together
    single_length: float  # of the weights of single characters
    single_sounds_length: float
    terms: Ints  # of the known grams, ascending; the following say the same of them, in the same order
    term_weights: Floats
    term_rarity: Floats  # 0 for sounds
    characters: int  # so many of them are single characters
    singles: int  # single characters or sounds
    forward: int  # anything but pairs of sounds

    def written(self) -> tuple[Ints, Floats]:
        """The grams of the characters, and their weights."""
        written = self.keys & _SOUND == 0
        return self.keys[written], self.weights[written]


@dataclass(frozen=True, slots=True)
class Overlap:
    """What a question and each of some wordings have in common: one number per wording, from 0 to 1."""

    singles: Floats  # cosine of single characters: what is said, in any order
    sounds: Floats  # cosine of single sounds
    asked_share: Floats  # of the question's grams, by rarity: those the wording has
    asked_topic: Floats  # how usual in this knowledge base the question's most usual pair is that the wording lacks
    wording_topic: Floats  # the other way round: asked about 借呗, the wording speaks of 花呗


class GramSpace:
    """Immutable. `owners` says which article a wording belongs to: rarity counts articles, not wordings."""

    def __init__(
        self, characters: Sequence[Sequence[int]], sounds: Sequence[Sequence[int]], owners: Sequence[int]
    ) -> None:
        """`characters` and `sounds` are the codes of the same wordings, each of at least one code."""
        size = len(characters)
        rows, keys = map(np.concatenate, zip(_grams(characters, 0), _grams(sounds, _SOUND), strict=True))
        self._vocabulary, terms = _distinct(keys)
        words = len(self._vocabulary)
        cells = np.sort(rows * words + terms)
        first = _is_new(cells).nonzero()[0]
        cells, counts = cells[first], np.diff(first, append=len(cells))
        rows, terms = np.divmod(cells, max(1, words))
        self._singles, self._pairs, self._forward = self._vocabulary.searchsorted((_SOUND, _PAIR, _SOUND_PAIR)).tolist()
        self._rarity = _rarity(np.asarray(owners, np.int64)[rows], terms, words)
        self._foreign = 1 + float(np.log(1 + len(set(owners))))
        self._usual = np.zeros(words)
        self._usual[self._pairs : self._forward] = np.exp((1 - self._rarity[self._pairs : self._forward]) / 2)
        weights = (1 + np.log(counts)) * self._rarity[terms]
        voices = 2 * rows + (self._vocabulary & _SOUND != 0)[terms]
        weights /= np.sqrt(np.bincount(voices, weights * weights))[voices]
        by_term = np.argsort(terms * size + rows)
        self._holders = rows[by_term].astype(np.int32)
        self._holder_weights = weights[by_term].astype(np.float32)
        self._holder_start = terms[by_term].searchsorted(np.arange(words + 1))
        forward = terms < self._forward
        rows, terms, weights = rows[forward], terms[forward].astype(np.int32), weights[forward].astype(np.float32)
        self._start = rows.searchsorted(np.arange(size + 1))
        self._terms, self._weights = terms, weights
        squares = weights * weights
        self._single_length = np.sqrt(np.bincount(rows, squares * (terms < self._singles), size))
        sounds_only = (terms >= self._singles) & (terms < self._pairs)
        self._single_sounds_length = np.sqrt(np.bincount(rows, squares * sounds_only, size))

    def ask(self, characters: Sequence[int], sounds: Sequence[int]) -> Asked:
        """A question's codes, at least one of either kind, in the terms of this space."""
        keys, counts = _counted(np.concatenate([_keys(characters, 0), _keys(sounds, _SOUND)]))
        places = self._vocabulary.searchsorted(keys)
        known = self._vocabulary.take(places, mode="clip") == keys if len(self._vocabulary) else keys < 0
        terms = places[known]
        rarity = np.full(len(keys), self._foreign)
        rarity[known] = self._rarity[terms]
        weights = rarity if counts is None else (1 + np.log(counts)) * rarity
        is_sound = keys & _SOUND != 0
        squares = weights * weights
        of_sounds = float(squares @ is_sound)
        weights = weights / np.sqrt([squares.sum() - of_sounds, of_sounds])[is_sound.view(np.int8)]
        characters_end, singles_end = keys.searchsorted((_SOUND, _PAIR)).tolist()
        rarity *= ~is_sound
        return Asked(
            keys,
            weights,
            float(rarity.sum()),
            _length(weights[:characters_end]),
            _length(weights[characters_end:singles_end]),
            terms,
            weights[known],
            rarity[known],
            *terms.searchsorted((self._singles, self._pairs, self._forward)).tolist(),
        )

    def nearest(self, asked: Asked, *, room: int, reads: int) -> Ints:
        """Up to `room` sequences by cosine over their rarest common grams; reads about `reads` postings.

        The rarest come first, for they tell the most and are the quickest to read: over 100,000 questions the common
        half of a question's grams has 99 % of the postings.
        """
        begin = self._holder_start[asked.terms]
        sizes = self._holder_start[asked.terms + 1] - begin
        order = sizes.argsort()
        taken = order[: max(1, int(sizes[order].cumsum().searchsorted(reads, side="right")))]
        if not len(taken):
            return np.zeros(0, np.int64)
        sizes = np.minimum(sizes[taken], reads)
        slices = [slice(b, b + n) for b, n in zip(begin[taken].tolist(), sizes.tolist(), strict=True)]
        holders = np.concatenate([self._holders[one] for one in slices])
        dots = np.concatenate([self._holder_weights[one] for one in slices])
        dots *= asked.term_weights[taken].astype(np.float32).repeat(sizes)
        found, first, places = _runs(holders)
        if len(found) <= room:
            return found
        best: Ints = found[(-np.add.reduceat(dots[places], first)).argpartition(room)[:room]]
        return best

    def overlap(self, asked: Asked, sequences: Ints) -> Overlap:
        """Every measure of a question against some sequences; at least one."""
        size = len(sequences)
        begin = self._start[sequences]
        lengths = self._start[sequences + 1] - begin
        ends = lengths.cumsum()
        offsets = ends - lengths
        at = np.arange(ends[-1])
        at += (begin - offsets).repeat(lengths)
        terms = self._terms[at]
        known = asked.terms[: asked.forward]
        places = known.searchsorted(terms)
        shared = (known.take(places, mode="clip") == terms if len(known) else terms < 0).nonzero()[0]
        cells = (np.arange(size) * len(known)).repeat(lengths)[shared] + places[shared]
        common = np.zeros((size, len(known)))
        common.ravel()[cells] = self._weights[at[shared]]
        lacks = common == 0
        one, two = asked.characters, asked.singles
        singles, sounds = common[:, :one] @ asked.term_weights[:one], common[:, one:two] @ asked.term_weights[one:two]
        topics = self._usual[terms]
        topics[shared] = 0.0
        return Overlap(
            singles / (self._single_length[sequences] * asked.single_length),
            sounds / (self._single_sounds_length[sequences] * asked.single_sounds_length),
            (float(asked.term_rarity.sum()) - lacks @ asked.term_rarity[: asked.forward]) / asked.rarity,
            (lacks[:, two:] * self._usual[known[two:]]).max(axis=1, initial=0.0),
            np.maximum.reduceat(topics, offsets),
        )

    def holders(self, *characters: int) -> int:
        """How many sequences have this character, or this pair of characters."""
        key = _keys(characters, 0)[-1]
        place = int(self._vocabulary.searchsorted(key))
        if place == len(self._vocabulary) or self._vocabulary[place] != key:
            return 0
        return int(self._holder_start[place + 1] - self._holder_start[place])

    def characters(self) -> list[int]:
        """Every character that occurs."""
        codes: list[int] = self._vocabulary[: self._singles].tolist()
        return codes


def gram_keys(characters: Sequence[int]) -> list[int]:
    """The numbers of a text's 1- and 2-grams."""
    return [*characters, *(left << _SHIFT | right for left, right in pairwise(characters))]


def _keys(codes: Sequence[int], voice: int) -> Ints:
    flat = np.array(codes, np.int64) | voice
    keys = np.empty(2 * len(flat) - 1, np.int64)
    keys[: len(flat)] = flat
    keys[len(flat) :] = flat[:-1] << _SHIFT | flat[1:]
    return keys


def _grams(sequences: Sequence[Sequence[int]], voice: int) -> tuple[Ints, Ints]:
    """Row and key of every 1- and 2-gram."""
    lengths = np.fromiter(map(len, sequences), np.int64, len(sequences))
    flat = np.fromiter(chain.from_iterable(sequences), np.int64, int(lengths.sum())) | voice
    rows = np.repeat(np.arange(len(lengths)), lengths)
    together = rows[:-1] == rows[1:]
    pairs = (flat[:-1] << _SHIFT | flat[1:])[together]
    return np.concatenate([rows, rows[:-1][together]]), np.concatenate([flat, pairs])


def _length(weights: Floats) -> float:
    return math.sqrt(weights @ weights)


def _distinct(values: Ints) -> tuple[Ints, Ints]:
    """The distinct values, ascending, and the place of each value among them. numpy.unique, in half the time."""
    order = np.argsort(values)
    ordered = values[order]
    is_new = _is_new(ordered)
    places = np.empty(len(values), np.int64)
    places[order] = np.cumsum(is_new) - 1
    return ordered[is_new], places


def _counted(keys: Ints) -> tuple[Ints, Ints | None]:
    """The distinct keys, ascending, and how often each occurs; None where all occur once, as they mostly do."""
    keys.sort()
    is_new = _is_new(keys)
    if is_new.all():
        return keys, None
    first = is_new.nonzero()[0]
    return keys[first], np.diff(first, append=len(keys))


def _runs(values: Ints) -> tuple[Ints, Ints, Ints]:
    """The distinct values, ascending; where each begins once all are in `order`; and that order.

    Each value is sorted with its place in one number: four times as fast as sorting the places.
    """
    packed = values.astype(np.int64) << _SHIFT
    packed += np.arange(len(values))
    packed.sort()
    ordered = packed >> _SHIFT
    first = _is_new(ordered).nonzero()[0]
    return ordered[first], first, packed & (_PAIR - 1)


def _is_new(ordered: Ints) -> NDArray[np.bool_]:
    """Whether each value differs from the one before."""
    is_new = np.ones(len(ordered), np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=is_new[1:])
    return is_new


def _rarity(owners: Ints, terms: Ints, size: int) -> Floats:
    """Inverse frequency by article, not by wording: eight ways to say 包邮 in one article do not make it common."""
    if not len(owners):
        return np.ones(size)
    _, numbers = _distinct(owners)
    held = _distinct(numbers * size + terms)[0] % size
    return np.asarray(1 + np.log((2 + numbers.max()) / (1 + np.bincount(held, minlength=size))))
