"""The articles closest to a question, each with its score and the wording that shows why."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bot.faq.fusion import Fusion
from bot.faq.grams import Ints
from bot.faq.index import Index, Question

OFFERED = 3  # hits kept: as many as a menu can show without being a list to read
SUPPORT_SHARE = 0.6  # of a score: what the whole article speaks of; the rest is the closest wording's likeness
ALMOST = 0.999  # the most a wording scores that is not the same


@dataclass(frozen=True, slots=True)
class Hit:
    article_id: str
    question: str  # the article's standard question, to show in a menu
    score: float  # 0 to 1; 1 is the same wording but for spelling
    matched: str  # the wording that came closest: the evidence


class Ranking:
    """An index, and the weights by which its wordings are compared with a question."""

    def __init__(self, index: Index, fusion: Fusion) -> None:
        self.index, self._fusion = index, fusion

    def hits(self, question: Question, numbers: Ints) -> tuple[Hit, ...]:
        """The best articles among these wordings, each by its best one."""
        if not len(numbers):
            return ()
        likeness = self._fusion.likeness(self.index.features(question, numbers))
        support = self.index.support(question, numbers)
        if support is not None:
            likeness = (1 - SUPPORT_SHARE) * likeness + SUPPORT_SHARE * support
        return tuple(self._hit(question, number, score) for number, score in self._tops(numbers, likeness))

    def _tops(self, numbers: Ints, likeness: NDArray[np.float64]) -> list[tuple[int, float]]:
        order = np.argsort(-likeness, kind="stable")
        _, first = np.unique(self.index.owners[numbers[order]], return_index=True)
        best = order[np.sort(first)[:OFFERED]]
        return list(zip(numbers[best].tolist(), likeness[best].tolist(), strict=True))

    def _hit(self, question: Question, number: int, score: float) -> Hit:
        entry = self.index.entries[number]
        score = 1.0 if entry.text == question.text else min(score, ALMOST)
        return Hit(entry.article.id, entry.article.question, score, entry.wording)


def confidence(hits: tuple[Hit, ...]) -> float:
    """How sure the best hit is, 0 to 2: its score, and as much again as it is ahead of the next article.

    Its lead tells as much as its score: two near neighbours are offered, not guessed between.
    """
    if not hits:
        return 0.0
    return 2 * hits[0].score - (hits[1].score if len(hits) > 1 else 0.0)
