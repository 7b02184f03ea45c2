"""Every published wording, found by its characters and its sounds, with what speaks for and against each."""

from collections.abc import Callable, Iterable, Sequence
from copy import copy
from dataclasses import dataclass
from datetime import date
from itertools import chain
from typing import Self

import numpy as np
from numpy.typing import NDArray

from bot.faq import pinyin
from bot.faq.articles import Article
from bot.faq.features import Surface
from bot.faq.grams import Asked, Floats, GramSpace, Ints
from bot.faq.lens import Subjects
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
        self,
        articles: Iterable[Article],
        vectors_of: Callable[[Sequence[str]], Vectors] | None = None,
        confirmed: Sequence[tuple[str, str]] = (),
    ) -> None:
        """With `vectors_of`, also by what they mean; `confirmed` are pairs of texts that people called the same."""
        articles = tuple(articles)
        self.entries = tuple(_entries(articles))
        self.owners = np.array(_numbered([entry.article.id for entry in self.entries]), np.int64)
        texts = [entry.text for entry in self.entries]
        self._dated = any(article.valid_from or article.valid_to for article in articles)
        self._surface = Surface(texts)
        self._grams = GramSpace(list(map(_codes, texts)), list(map(_sounds, texts)), self.owners.tolist())
        self._support = _support(articles, self.entries)
        self._spelling = Spelling(self._grams)
        self.meanings: Meanings | None = None
        self._judging: list[Meanings] = []
        if vectors_of:
            self.meanings, *self._judging = self._learn(vectors_of, confirmed)

    def _learn(
        self, vectors_of: Callable[[Sequence[str]], Vectors], confirmed: Sequence[tuple[str, str]]
    ) -> list[Meanings]:
        subjects = Subjects()
        for entry, owner in zip(self.entries, self.owners.tolist(), strict=True):
            subjects.join(entry.text, owner)
        for left, right in confirmed:
            subjects.join(_folded(left), _folded(right))
        self._subjects = [subjects.of(entry.text) for entry in self.entries]
        mine = {entry.text for entry in self.entries}
        said = [text for text in dict.fromkeys(chain.from_iterable(confirmed)) if _folded(text) not in mine]
        vectors = vectors_of([entry.wording for entry in self.entries])
        return Meanings.learnt(vectors, self._subjects, vectors_of(said), [subjects.of(_folded(one)) for one in said])

    def judging(self, number: int) -> Self:
        """This index as it would be had it not learnt what the wording `number` means: to ask it that very wording."""
        if not self._judging:
            return self
        other = copy(self)
        other.meanings = self._judging[self._subjects[number] % len(self._judging)]
        return other

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
    answers = {article.id: [_codes(_folded(line)) for line in article.answer.split("\n")] for article in articles}
    return Support([Told(of_one, answers[id_]) for id_, of_one in wordings.items()])


def _entries(articles: Iterable[Article]) -> Iterable[Entry]:
    for article in articles:
        wordings = {_folded(wording): wording for wording in (*article.similar, article.question)}
        yield from (Entry(article, wording, text) for text, wording in wordings.items() if text)


def _numbered(names: Sequence[str]) -> list[int]:
    """Each name's number, counted in the order they first appear."""
    numbers: dict[str, int] = {}
    return [numbers.setdefault(name, len(numbers)) for name in names]


def _folded(text: str) -> str:
    return fold_synonyms(normalize(text))


def _codes(text: str) -> list[int]:
    return list(map(ord, text))


def _sounds(text: str) -> list[int]:
    return list(map(pinyin.code_of, text))
