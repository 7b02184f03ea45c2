"""The articles closest to a question, each with its score and the wording that shows why."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from bot.faq.features import FEATURES
from bot.faq.fusion import Fusion
from bot.faq.grams import Ints
from bot.faq.index import Index, Question

OFFERED = 3  # hits kept: as many as a menu can show without being a list to read
SUPPORT_SHARE = 0.6  # of a score: what the whole article speaks of; the rest is the closest wording's likeness
MEANT_LEAD = 0.6  # what the lead counts where closeness of meaning counts too
ALMOST = 0.999  # the most a wording scores that is not the same


@dataclass(frozen=True, slots=True)
class Hit:
    article_id: str
    question: str  # the article's standard question, to show in a menu
    score: float  # 0 to 1; 1 is the same wording but for spelling
    matched: str  # the wording that came closest: the evidence
    meaning: float | None = None  # how close its meaning is, 0 to 1, when the semantic tier was asked


class Ranking:
    """An index, and the weights by which its wordings are compared with a question."""

    def __init__(self, index: Index, fusion: Fusion) -> None:
        self.index, self._fusion = index, fusion

    def judging(self, number: int) -> Self:
        """To ask the wording `number` itself: see Index.judging()."""
        return type(self)(self.index.judging(number), self._fusion)

    def hits(self, question: Question, numbers: Ints, *, keep: int = OFFERED) -> tuple[Hit, ...]:
        """The best articles among these wordings, each by its best one."""
        if not len(numbers):
            return ()
        features = self.index.features(question, numbers)
        likeness = self._fusion.likeness(features)
        support = self.index.support(question, numbers)
        if support is not None:
            likeness = (1 - SUPPORT_SHARE) * likeness + SUPPORT_SHARE * support
        meaning = features[:, len(FEATURES)] if features.shape[1] > len(FEATURES) else None
        return tuple(
            self._hit(
                question, int(numbers[place]), float(likeness[place]), meaning if meaning is None else meaning[place]
            )
            for place in self._tops(numbers, likeness, keep)
        )

    def _tops(self, numbers: Ints, likeness: NDArray[np.float64], keep: int) -> list[int]:
        """The places of the best wordings of the best articles."""
        tops: dict[int, int] = {}  # owner to its best place
        owners = self.index.owners[numbers].tolist()
        for place in np.argsort(-likeness, kind="stable").tolist():
            if tops.setdefault(owners[place], place) == place and len(tops) == keep:
                break
        return list(tops.values())

    def _hit(self, question: Question, number: int, score: float, meaning: float | None) -> Hit:
        entry = self.index.entries[number]
        score = 1.0 if entry.text == question.text else min(score, ALMOST)
        return Hit(entry.article.id, entry.article.question, score, entry.wording, meaning)


def confidence(hits: tuple[Hit, ...]) -> float:
    """How sure the best hit is: its score, and more the further it is ahead of the next article.

    Its lead tells as much as its score: two near neighbours are offered, not guessed between. Where the semantic tier
    was asked, closeness of meaning tells as much again. 0 to 2, or to 2.6.
    """
    if not hits:
        return 0.0
    best, lead = hits[0], hits[0].score - (hits[1].score if len(hits) > 1 else 0.0)
    return best.score + lead if best.meaning is None else best.score + MEANT_LEAD * lead + best.meaning
