"""What to do with a customer's question: answer it, offer what they may have meant, or admit a miss."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Literal

from rapidfuzz import fuzz

from bot.faq.articles import Article
from bot.faq.index import Candidate, Entry, Index
from bot.faq.normalize import fold_synonyms, letters, normalize, says_nothing

OFFERED = 3  # hits kept: as many as a menu can show without being a list to read
SHORTEST = 3  # characters typed; below it only a wording that an article lists word for word counts
LIKENESS_SHARE = 0.4  # of the score: how like the closest wording; the rest is the whole article's support
COSINE_SHARE = 0.65  # of the likeness; the rest is rapidfuzz's ratio, which sees order and length


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Where a score becomes a decision. Scores run from 0 to 1.

    answer: the best article's score at which it is sent unasked.
    suggest: the score from which an article is worth offering as 您是不是想问.
    lead: how far the best must be ahead of the next article; two near neighbours are offered, not guessed between.

    The defaults were measured on the demo shop (203 articles, 1,328 wordings). Of 55 customers' phrasings kept out of
    all tuning but these three numbers, 35 were answered, every one rightly; 16 got a menu, 13 times with the right
    article in it; 4 were missed. Of 2,230 questions of other trades 2 % were answered and 14 % got a menu. Each wording
    asked of an index without it: recall@1 0.46, recall@3 0.68; that is harder than a paraphrase, since an article's
    wordings ask different sides of it. A shop whose questions lie closer together will want a higher `answer` and
    `lead`.
    """

    answer: float = 0.36
    suggest: float = 0.25
    lead: float = 0.04


@dataclass(frozen=True, slots=True)
class Hit:
    article_id: str
    question: str  # the article's standard question, to show in a menu
    score: float
    matched: str  # the wording that came closest: the evidence


@dataclass(frozen=True, slots=True)
class Match:
    """The decision and its evidence, best hit first, one per article.

    answer: send the article of hits[0]. suggest: offer all hits. miss: hits are only for the record.
    """

    kind: Literal["answer", "suggest", "miss"]
    hits: tuple[Hit, ...] = ()


class Matcher:
    """Finds the article a question means. Immutable: build a new one when articles change, and swap the reference."""

    def __init__(self, articles: Iterable[Article], thresholds: Thresholds | None = None) -> None:
        self.index = Index(articles)
        self.thresholds = thresholds or Thresholds()

    def match(self, text: str, today: date | None = None) -> Match:
        """The decision for `text`. With `today` (shop-local), only articles valid on that day count."""
        if says_nothing(text):
            return Match("miss")
        hits = tuple(_best_by_article(self.rank(text, today=today)))[:OFFERED]
        exact = bool(hits) and hits[0].score == 1
        if not exact and (len(letters(text)) < SHORTEST or len(normalize(text)) == 1):
            return Match("miss", hits)
        return _decide(hits, self.thresholds)

    def rank(self, text: str, *, today: date | None = None) -> list[tuple[float, Entry]]:
        """The closest wordings with their scores, best first; 1 means the same wording but for spelling."""
        query = fold_synonyms(normalize(text))
        ranked = [
            (_score(query, candidate), candidate.entry) for candidate in self.index.candidates(query, today=today)
        ]
        return sorted(ranked, key=lambda scored: -scored[0])


def _score(query: str, candidate: Candidate) -> float:
    if query == candidate.entry.text:
        return 1.0
    ratio = fuzz.ratio(query, candidate.entry.text) / 100
    likeness = COSINE_SHARE * candidate.cosine + (1 - COSINE_SHARE) * ratio
    return min(0.999, LIKENESS_SHARE * likeness + (1 - LIKENESS_SHARE) * candidate.support)


def _best_by_article(ranked: Iterable[tuple[float, Entry]]) -> Iterable[Hit]:
    seen: set[str] = set()
    for score, entry in ranked:
        if entry.article.id not in seen:
            seen.add(entry.article.id)
            yield Hit(entry.article.id, entry.article.question, score, entry.wording)


def _decide(hits: tuple[Hit, ...], thresholds: Thresholds) -> Match:
    if not hits or hits[0].score < thresholds.suggest:
        return Match("miss", hits)
    lead = hits[0].score - hits[1].score if len(hits) > 1 else 1.0
    sure = hits[0].score >= thresholds.answer and lead >= thresholds.lead
    if sure or hits[0].score == 1:
        return Match("answer", hits)
    return Match("suggest", tuple(hit for hit in hits if hit.score >= thresholds.suggest))
