"""Where confidence becomes an answer, found anew for each knowledge base: a threshold does not travel to another.

The knowledge base is asked its own questions. With an article (and the others on its subject) left out, its questions
are foreign, of just the kind that is dangerous: what a customer of this shop asks and nobody has written about. With
only the one wording left out, they are not, and tell how often a threshold would let the right answer through.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bot.faq.grams import Floats
from bot.faq.index import Question
from bot.faq.ranking import Hit, Ranking, confidence

SAMPLE = 500  # questions asked of either kind
FEWEST = 50  # with fewer wordings the shop's own questions say nothing yet
FOREIGN_SHARE = 0.0275  # of foreign questions that may get an answer, where nothing is known of right ones
MEANT_SHARE = 0.0215  # the same in the semantic tier
SHARES = np.arange(0.0275, 0.0701, 0.0025)  # tried where something is
COST = 2.0  # right answers that make up for one to a foreign question
OFFERED_SHARE = 0.30  # of foreign questions that may get a menu to choose from, or an answer


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Where a number becomes a decision. The defaults are for knowledge bases too small to be asked."""

    answer: float = 0.80  # the confidence from which the best article is sent unasked
    suggest: float = 0.35  # the score from which an article is worth offering as 您是不是想问
    certain: float = 1.20  # the confidence from which nothing further is asked, where there is a semantic tier


MEANT = Thresholds(answer=1.5, suggest=0.20)  # the defaults of the semantic tier


@dataclass(frozen=True, slots=True)
class Calibration:
    """Thresholds, and what they let through of the knowledge base's own questions."""

    thresholds: Thresholds
    foreign_share: float | None = None  # of foreign questions that get an answer; None: too few questions to tell
    right_share: float | None = None  # of own questions in new words that get the right one; None: no similar questions


def calibrate(ranking: Ranking, *, by_meaning: bool = False) -> Calibration:
    """Thresholds for this knowledge base and one of its tiers; takes a second at most, whatever its size."""
    numbers = range(len(ranking.index.entries))
    if len(numbers) < FEWEST:
        return Calibration(MEANT if by_meaning else Thresholds())
    sample = random.Random(7).sample(numbers, min(SAMPLE, len(numbers)))
    foreign = [
        hits for number in sample if (hits := ask_without_subject(ranking, number, by_meaning=by_meaning)) is not None
    ]
    sureness = np.array([confidence(hits) for hits in foreign])
    again = [number for number in sample if _has_other_wording(ranking, number)]
    right = _right_sureness(ranking, again, by_meaning=by_meaning) if len(again) >= FEWEST else None
    usual = MEANT_SHARE if by_meaning else FOREIGN_SHARE
    share = usual if right is None else _best_share(sureness, right)
    answer = float(np.quantile(sureness, 1 - share))
    suggest = float(np.quantile([hits[0].score if hits else 0.0 for hits in foreign], 1 - OFFERED_SHARE))
    return Calibration(
        Thresholds(answer, min(suggest, answer), certain=float(sureness.max())),
        float(np.mean(sureness >= answer)),
        None if right is None else float(np.mean(right >= answer)),
    )


def _best_share(foreign: Floats, right: Floats) -> float:
    worth = [np.mean(right >= np.quantile(foreign, 1 - share)) - COST * share for share in SHARES]
    return float(SHARES[int(np.argmax(worth))])


def ask_without_subject(ranking: Ranking, number: int, *, by_meaning: bool = False) -> tuple[Hit, ...] | None:
    """What a wording finds when its article and all on its subject are not there; None if it is no question."""
    ranking = ranking.judging(number) if by_meaning else ranking
    entries, owners = ranking.index.entries, ranking.index.owners
    subject = set(entries[number].article.tags)
    question = _question(ranking, number, by_meaning=by_meaning)
    if question is None:
        return None
    found = ranking.index.candidates(question, without=int(owners[number]))
    kept = [one for one in found.tolist() if subject.isdisjoint(entries[one].article.tags)]
    return ranking.hits(question, np.array(kept, np.int64))


def _right_sureness(ranking: Ranking, numbers: Sequence[int], *, by_meaning: bool) -> Floats:
    """Confidence of each wording's hits without itself; 0 where the first hit is another article."""
    sure = []
    for number in numbers:
        entry = ranking.index.entries[number]
        question = _question(ranking, number, by_meaning=by_meaning)
        if question is None:
            continue
        judging = ranking.judging(number) if by_meaning else ranking
        found = judging.index.candidates(question)
        hits = judging.hits(question, found[found != number])
        sure.append(confidence(hits) if hits and hits[0].article_id == entry.article.id else 0.0)
    return np.array(sure)


def _question(ranking: Ranking, number: int, *, by_meaning: bool) -> Question | None:
    index = ranking.index
    vector = index.meanings.vector(number) if by_meaning and index.meanings is not None else None
    return index.read(index.entries[number].wording, vector)


def _has_other_wording(ranking: Ranking, number: int) -> bool:
    return len(ranking.index.entries[number].article.similar) > 0
