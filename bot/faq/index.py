"""Every published wording, found by its characters and its sounds, with what speaks for and against each."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from bot.faq import pinyin
from bot.faq.articles import Article
from bot.faq.features import Surface
from bot.faq.grams import Asked, Floats, GramSpace, Ints
from bot.faq.meanings import Meanings, Vectors
from bot.faq.normalize import fold_synonyms, normalize
from bot.faq.spelling import Spelling
from bot.faq.support import Support, Told

CANDIDATES = 28  # wordings the costlier comparison looks at
READS = 2000  # postings read per question


@dataclass(frozen=True, slots=True)
class Entry:
    """One wording of one article: its question or a similar one."""

    article: Article
    wording: str  # as written
    text: str  # normalised, synonyms folded


@dataclass(frozen=True, slots=True)
class Question:
    """What a customer asked, as the index reads it."""

    text: str
    grams: Asked
    vector: Vectors | None = None  # its meaning, when the semantic tier was asked


class Index:
    """Immutable. Publishing builds a new one and swaps the reference, so a running question sees one state."""

    def __init__(
        self, articles: Iterable[Article], vectors_of: Callable[[Sequence[str]], Vectors] | None = None
    ) -> None:
        articles = tuple(articles)
        self.entries = tuple(_entries(articles))
        self.owners = np.array(_numbered([entry.article.id for entry in self.entries]), np.int64)
        texts = [entry.text for entry in self.entries]
        self._dated = any(article.valid_from or article.valid_to for article in articles)
        self._surface = Surface(texts)
        self._grams = GramSpace(list(map(_codes, texts)), list(map(_sounds, texts)), self.owners.tolist())
        self._support = _support(articles, self.entries)
        self._spelling = Spelling(self._grams)
        self.meanings = Meanings(vectors_of([one.wording for one in self.entries])) if vectors_of else None

    def read(self, text: str, vector: Vectors | None = None) -> Question | None:
        """A customer's text in the index's terms; None when it has no letters."""
        plain = fold_synonyms(self._spelling.read(normalize(text)))
        if not plain:
            return None
        return Question(plain, self._grams.ask(_codes(plain), _sounds(plain)), vector)

    def candidates(self, question: Question, *, today: date | None = None, without: int = -1) -> Ints:
        """The wordings closest to `question`; with `today`, of articles valid on that day, and not of one owner."""
        found = self._grams.nearest(question.grams, room=CANDIDATES, reads=READS)
        if self.meanings is not None and question.vector is not None:
            found = np.union1d(found, self.meanings.nearest(question.vector))
        if without >= 0:
            found = found[self.owners[found] != without]
        if self._dated and today is not None:
            found = found[[self.entries[number].article.is_valid(today) for number in found.tolist()]]
        return found

    def features(self, question: Question, numbers: Ints) -> NDArray[np.float64]:
        """A row per wording, a column per name in features.FEATURES, then e5's if asked; `numbers` is not empty."""
        lexical = self._surface.compare(question.text, numbers, self._grams.overlap(question.grams, numbers))
        if self.meanings is None or question.vector is None:
            return lexical
        return np.column_stack([lexical, self.meanings.closeness(question.vector, numbers)])

    def support(self, question: Question, numbers: Ints) -> Floats | None:
        """How much of the question each wording's whole article speaks of; None if articles are single questions."""
        if self._support is None:
            return None
        owners, places = np.unique(self.owners[numbers], return_inverse=True)
        return self._support.shares(question.grams, owners)[places]


def _support(articles: Sequence[Article], entries: Sequence[Entry]) -> Support | None:
    if not any(article.answer for article in articles) and len(entries) == len(articles):
        return None
    wordings: dict[str, list[list[int]]] = {}
    for entry in entries:
        wordings.setdefault(entry.article.id, []).append(_codes(entry.text))
    answers = {
        article.id: [_codes(fold_synonyms(normalize(line))) for line in article.answer.split("\n")]
        for article in articles
    }
    return Support([Told(of_one, answers[id_]) for id_, of_one in wordings.items()])


def _entries(articles: Iterable[Article]) -> Iterable[Entry]:
    for article in articles:
        wordings = {fold_synonyms(normalize(wording)): wording for wording in (*article.similar, article.question)}
        yield from (Entry(article, wording, text) for text, wording in wordings.items() if text)


def _numbered(names: Sequence[str]) -> list[int]:
    """Each name's number, counted in the order they first appear."""
    numbers: dict[str, int] = {}
    return [numbers.setdefault(name, len(numbers)) for name in names]


def _codes(text: str) -> list[int]:
    return list(map(ord, text))


def _sounds(text: str) -> list[int]:
    return list(map(pinyin.code_of, text))
