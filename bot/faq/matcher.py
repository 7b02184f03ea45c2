"""What to do with a customer's question: answer it, offer what they may have meant, or admit a miss."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Literal

from bot.faq.articles import Article
from bot.faq.calibrate import Calibration, Thresholds, calibrate
from bot.faq.fusion import Fusion
from bot.faq.index import Index
from bot.faq.meanings import Vectors
from bot.faq.normalize import letters, normalize, says_nothing
from bot.faq.ranking import OFFERED, Hit, Ranking, confidence
from bot.faq.semantic import Semantics

SHORTEST = 3  # characters typed; below it only a wording that an article lists word for word counts
NEAR = 0.5  # of the best score: from here the second and the third are offered beside it

Kind = Literal["answer", "suggest", "miss"]
Tier = Literal["lexical", "semantic"]


@dataclass(frozen=True, slots=True)
class Match:
    """The decision and its evidence, best hit first, one per article.

    answer: send the article of hits[0]. suggest: offer all hits. miss: hits are only for the record.
    """

    kind: Kind
    hits: tuple[Hit, ...] = ()
    confidence: float = 0.0  # see ranking.confidence
    tier: Tier = "lexical"  # which of the tiers had the last word


class Matcher:
    """Finds the article a question means. Immutable: build a new one when articles change, and swap the reference."""

    def __init__(
        self,
        articles: Iterable[Article],
        thresholds: Thresholds | None = None,
        *,
        semantics: Semantics | None = None,
        confirmed: Sequence[tuple[str, str]] = (),
    ) -> None:
        """With `semantics` every wording's vector is needed; those not on disk take some 20 ms each.

        confirmed: pairs of texts that people called the same, from which that tier learns, as from similar questions.
        """
        self._semantics = semantics
        self.index = Index(articles, semantics.vectors if semantics else None, confirmed)
        self.ranking = Ranking(self.index, Fusion.load())
        self.calibration = Calibration(thresholds) if thresholds else calibrate(self.ranking)
        self.meant = calibrate(self.ranking, by_meaning=True) if semantics else None

    @property
    def thresholds(self) -> Thresholds:
        return self.calibration.thresholds

    def match(self, text: str, today: date | None = None, *, keep: int = OFFERED) -> Match:
        """The decision for `text`. With `today` (shop-local), only articles valid on that day count.

        The semantic tier has the last word where it is there, the lexical one is not certain, and the meaning of
        `text` was worked out beforehand by Semantics.think_of().
        """
        if says_nothing(text):
            return Match("miss")
        lexical = self._by(text, today, None, self.thresholds, keep)
        if self._semantics is None or self.meant is None or self._is_certain(lexical):
            return lexical
        vector = self._semantics.thought_of(text)
        return lexical if vector is None else self._by(text, today, vector, self.meant.thresholds, keep)

    def is_certain(self, text: str, today: date | None = None) -> bool:
        """Whether the semantic tier need not be asked about `text`."""
        return (
            self.meant is None or says_nothing(text) or self._is_certain(self._by(text, today, None, self.thresholds))
        )

    def _by(
        self, text: str, today: date | None, vector: Vectors | None, thresholds: Thresholds, keep: int = OFFERED
    ) -> Match:
        question = self.index.read(text, vector)
        if question is None:
            return Match("miss")
        hits = self.ranking.hits(question, self.index.candidates(question, today=today), keep=keep)
        tier: Tier = "lexical" if vector is None else "semantic"
        if _is_too_short(text) and not _is_same(hits):
            return Match("miss", hits, tier=tier)
        return replace(_decide(hits, thresholds), tier=tier)

    def _is_certain(self, match: Match) -> bool:
        return _is_same(match.hits) or match.confidence >= self.thresholds.certain


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
