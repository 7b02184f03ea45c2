"""What speaks for and against a wording being what a question means; each feature is a number from 0 to 1."""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import process
from rapidfuzz.distance import LCSseq

from bot.faq.grams import Ints, Overlap
from bot.faq.numbers import numbers

# In favour, then against. fusion.py gives each its weight; e5 is there when the semantic tier was asked.
FEATURES = (
    "same_characters",  # cosine of single characters by rarity
    "same_sounds",  # the same over syllables: 花被 sounds like 花呗
    "asked_share",  # of the question, by rarity, that the wording and its article speak of
    "ratio",  # rapidfuzz's: characters in common, in order, of both lengths
    "subsequence",  # longest common subsequence over the shorter one
    "same_length",
    "asked_topic",  # a usual word of this knowledge base is in the question only
    "wording_topic",  # or in the wording only
    "negation",  # one says 不 or 没, the other does not
    "person",  # one speaks of 我 or 你, the other does not
    "number",  # they speak of different numbers; half where only one speaks of any
)
SEMANTIC = "e5"

_NEGATION = re.compile("[不没无别未非]")
_FIRST_PERSON = re.compile("[我俺咱]")
_SECOND_PERSON = re.compile("[你您]")


def marks(text: str) -> tuple[bool, bool, bool]:
    """Whether a text negates, speaks of 我, speaks of 你."""
    return (
        _NEGATION.search(text) is not None,
        _FIRST_PERSON.search(text) is not None,
        _SECOND_PERSON.search(text) is not None,
    )


class Surface:
    """The wordings as strings: what is compared letter by letter."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = texts
        self._lengths = np.fromiter(map(len, texts), np.int32, len(texts))
        self._marks = np.array([marks(text) for text in texts], np.bool_).reshape(len(texts), 3)
        self._counts = np.fromiter(map(_counted, texts), np.int64, len(texts))

    def compare(self, text: str, places: Ints, overlap: Overlap) -> NDArray[np.float64]:
        """The features of `text` and each of some wordings: a row per wording, a column per name in FEATURES."""
        wordings = [self._texts[place] for place in places.tolist()]
        lengths = self._lengths[places]
        shorter, longer = np.minimum(lengths, len(text)), np.maximum(lengths, len(text))
        common = process.cdist([text], wordings, scorer=LCSseq.similarity)[0]
        differs = self._marks[places] != marks(text)
        count, counts = _counted(text), self._counts[places]
        columns = (
            overlap.singles,
            overlap.sounds,
            overlap.asked_share,
            2 * common / (shorter + longer),
            common / shorter,
            shorter / longer,
            overlap.asked_topic,
            overlap.wording_topic,
            differs[:, 0],
            differs[:, 1:].mean(axis=1),
            (counts != count) * np.where(counts, 1.0 if count else 0.5, 0.5),
        )
        features = np.empty((len(places), len(columns)))
        for column, values in enumerate(columns):  # a third of what numpy.column_stack takes
            features[:, column] = values
        return features


def _counted(text: str) -> int:
    """One number for all that a text speaks of; 0 where it speaks of none."""
    return hash(found) if (found := numbers(text)) else 0
