"""Every published wording, found by its characters: an inverted index of 1- and 2-grams with their rarity."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from itertools import islice, pairwise

from bot.faq.articles import Article
from bot.faq.normalize import fold_synonyms, normalize

CANDIDATES = 50  # wordings the costlier comparison looks at


@dataclass(frozen=True, slots=True)
class Entry:
    """One wording of one article: its question or a similar one."""

    article: Article
    wording: str  # as written
    text: str  # normalised, synonyms folded


@dataclass(frozen=True, slots=True)
class Candidate:
    entry: Entry
    cosine: float  # TF-IDF over 1- and 2-grams, 0 to 1


class Index:
    """Immutable. Publishing builds a new one and swaps the reference, so a running question sees one state."""

    def __init__(self, articles: Iterable[Article]) -> None:
        self.entries = tuple(_entries(articles))
        counted = [Counter(grams(entry.text)) for entry in self.entries]
        self._rarity = _rarity(self.entries, counted)
        self._unseen = math.log(1 + len({entry.article.id for entry in self.entries})) + 1
        postings: defaultdict[str, list[tuple[int, float]]] = defaultdict(list)
        for number, counts in enumerate(counted):
            for gram, weight in self._vector(counts).items():
                postings[gram].append((number, weight))
        self._postings: dict[str, tuple[tuple[int, float], ...]] = {g: tuple(p) for g, p in postings.items()}

    def candidates(self, text: str, *, today: date | None = None, limit: int = CANDIDATES) -> list[Candidate]:
        """The `limit` wordings closest to a folded `text`, best first; with `today`, of articles valid on that day."""
        dots: defaultdict[int, float] = defaultdict(float)
        vector = self._vector(Counter(grams(text)))
        for gram in sorted(vector, key=lambda gram: len(self._postings.get(gram, ()))):
            self._gather(gram, vector[gram], dots, room=20 * limit)
        best = sorted(dots.items(), key=lambda dot: -dot[1])
        found = (Candidate(self.entries[number], cosine) for number, cosine in best)
        return list(islice((c for c in found if c.entry.article.is_valid(today)), limit))

    def _gather(self, gram: str, weight: float, dots: defaultdict[int, float], *, room: int) -> None:
        """Add one gram's share. Grams come rarest first: once `room` wordings are known, a common one finds no more."""
        full = len(dots) >= room
        for number, theirs in self._postings.get(gram, ()):
            if not full or number in dots:
                dots[number] += weight * theirs

    def _vector(self, counts: Mapping[str, int]) -> dict[str, float]:
        """The grams' TF-IDF weights, of length 1. A gram no article has weighs the most: it is foreign."""
        raw = {g: (1 + math.log(n)) * self._rarity.get(g, self._unseen) for g, n in counts.items()}
        length = math.sqrt(sum(weight * weight for weight in raw.values()))
        return {gram: weight / length for gram, weight in raw.items()}


def grams(text: str) -> list[str]:
    """The single characters of `text` and its pairs of neighbours."""
    return [*text, *map("".join, pairwise(text))]


def _entries(articles: Iterable[Article]) -> Iterable[Entry]:
    for article in articles:
        wordings = {fold_synonyms(normalize(wording)): wording for wording in (*article.similar, article.question)}
        yield from (Entry(article, wording, text) for text, wording in wordings.items() if text)


def _rarity(entries: tuple[Entry, ...], counted: list[Counter[str]]) -> dict[str, float]:
    """Inverse frequency by article, not by wording: eight ways to say 包邮 in one article do not make it common."""
    holders: defaultdict[str, set[str]] = defaultdict(set)
    for entry, counts in zip(entries, counted, strict=True):
        for gram in counts:
            holders[gram].add(entry.article.id)
    total = len({entry.article.id for entry in entries})
    return {gram: math.log((1 + total) / (1 + len(ids))) + 1 for gram, ids in holders.items()}
