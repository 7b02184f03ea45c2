"""How much of a question a whole article speaks of: all its wordings together, and its answer."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bot.faq.grams import Asked, Floats, Ints, gram_keys

WORDINGS_SHARE = 0.4  # of an article's support; the rest says whether its answer speaks of the thing


@dataclass(frozen=True, slots=True)
class Told:
    """An article's wordings and the lines of its answer, as codes."""

    wordings: Sequence[Sequence[int]]
    answer: Sequence[Sequence[int]]


class Support:
    """Immutable: for each article its grams, ascending, and how much it is about each, 0 to 1.

    A question in new words shares more with the whole article than with any one wording.
    """

    def __init__(self, articles: Sequence[Told]) -> None:
        profiles = [_profile(article) for article in articles]
        self._grams = [np.array(sorted(profile), np.int64) for profile in profiles]
        self._about = [np.array([profile[gram] for gram in sorted(profile)], np.float32) for profile in profiles]

    def shares(self, asked: Asked, articles: Ints) -> Floats:
        """Of the question's weight, the part that each of these articles speaks of."""
        keys, weights = asked.written()
        whole = float(weights.sum())
        return np.array([self._share(keys, weights, article) / whole for article in articles.tolist()])

    def _share(self, keys: Ints, weights: Floats, article: int) -> float:
        grams = self._grams[article]
        places = np.minimum(np.searchsorted(grams, keys), len(grams) - 1)
        return float((weights * self._about[article][places]) @ (grams[places] == keys))


def _profile(article: Told) -> Mapping[int, float]:
    """n wordings with a gram make n / (n + 1) of the wordings' share, its standing in the answer all of the rest."""
    counts = Counter(gram for wording in article.wordings for gram in set(gram_keys(wording)))
    profile = {gram: WORDINGS_SHARE * n / (n + 1) for gram, n in counts.items()}
    for gram in {gram for line in article.answer for gram in gram_keys(line)}:
        profile[gram] = profile.get(gram, 0.0) + 1 - WORDINGS_SHARE
    return profile
