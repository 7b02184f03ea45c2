"""What to do with a customer's question: answer it, offer what they may have meant, or admit a miss."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Literal

from bot.faq.articles import Article
from bot.faq.calibrate import Calibration, Thresholds, calibrate
from bot.faq.fusion import Fusion
from bot.faq.index import Index
from bot.faq.normalize import letters, normalize, says_nothing
from bot.faq.ranking import Hit, Ranking, confidence

SHORTEST = 3  # characters typed; below it only a wording that an article lists word for word counts
NEAR = 0.5  # of the best score: from here the second and the third are offered beside it

Kind = Literal["answer", "suggest", "miss"]


@dataclass(frozen=True, slots=True)
class Match:
    """The decision and its evidence, best hit first, one per article.

    answer: send the article of hits[0]. suggest: offer all hits. miss: hits are only for the record.
    """

    kind: Kind
    hits: tuple[Hit, ...] = ()
    confidence: float = 0.0  # see ranking.confidence


class Matcher:
    """Finds the article a question means. Immutable: build a new one when articles change, and swap the reference."""

    def __init__(self, articles: Iterable[Article], thresholds: Thresholds | None = None) -> None:
        self.index = Index(articles)
        self.ranking = Ranking(self.index, Fusion.load())
        self.calibration = Calibration(thresholds) if thresholds else calibrate(self.ranking)

    @property
    def thresholds(self) -> Thresholds:
        return self.calibration.thresholds

    def match(self, text: str, today: date | None = None) -> Match:
        """The decision for `text`. With `today` (shop-local), only articles valid on that day count."""
        question = None if says_nothing(text) else self.index.read(text)
        if question is None:
            return Match("miss")
        hits = self.ranking.hits(question, self.index.candidates(question, today=today))
        if _is_too_short(text) and not _is_same(hits):
            return Match("miss", hits)
        return _decide(hits, self.thresholds)


def _is_too_short(text: str) -> bool:
    return len(letters(text)) < SHORTEST or len(normalize(text)) == 1


def _is_same(hits: tuple[Hit, ...]) -> bool:
    return bool(hits) and hits[0].score == 1


def _decide(hits: tuple[Hit, ...], thresholds: Thresholds) -> Match:
    sure = confidence(hits)
    if _is_same(hits) or (hits and sure >= thresholds.answer):
        return Match("answer", hits, sure)
    if not hits or hits[0].score < thresholds.suggest:
        return Match("miss", hits, sure)
    return Match("suggest", tuple(hit for hit in hits if hit.score >= NEAR * hits[0].score), sure)
