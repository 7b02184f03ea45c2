"""The fusion's weights, fitted offline to pairs of questions that people called the same or different.

    python -m bot.faq.learn PAIRS.jsonl ... --without QUERIES.jsonl ... --vectors CACHE.npz --out bot/faq/weights.json

Each file has lines {"a", "b", "same"}. The pairs themselves teach little, for collections of pairs hold those that look
alike and differ, and the other way round. So knowledge bases are played: some of the questions that have another
wording become articles, their other wordings are asked, and the weights are those that put the right article first
among all questions that have no other wording.
Every file counts the same, however long. Pairs with a question that somebody will be judged by stay out (--without).
"""

import argparse
import json
import random
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bot.faq.articles import Article
from bot.faq.features import FEATURES, SEMANTIC
from bot.faq.grams import Floats
from bot.faq.index import Index
from bot.faq.meanings import Vectors
from bot.faq.normalize import letters
from bot.faq.semantic import LocalModel, Semantics

# These may only lower a score, the others only raise it.
AGAINST = frozenset({"asked_topic", "wording_topic", "negation", "person", "number"})
PLAYS = 8  # knowledge bases made of each file
SHARE = 0.6  # of the questions with another wording that become articles
RIDGE = 1e-2
STEPS = 500
STEP = 0.05

MADE_BY = (
    "python -m bot.faq.learn PAIRS.jsonl ... --without QUERIES.jsonl ... --vectors CACHE.npz --out bot/faq/weights.json"
)

Features = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Asking:
    """One question asked of a played knowledge base: candidates' features, and which of them is right."""

    features: Features
    right: int


def read_pairs(path: Path) -> list[tuple[str, str, bool]]:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [(row["a"], row["b"], bool(row["same"])) for row in rows]


def questions_in(path: Path) -> set[str]:
    """The questions of a file of {"query"}, as they are compared."""
    return {letters(json.loads(line)["query"]) for line in path.read_text(encoding="utf-8").splitlines()}


def groups(pairs: Iterable[tuple[str, str, bool]]) -> list[list[str]]:
    """Questions that mean the same, joined transitively; most groups have one."""
    group_of: dict[str, list[str]] = {}
    for a, b, same in pairs:
        mine, theirs = group_of.setdefault(a, [a]), group_of.setdefault(b, [b])
        if same and mine is not theirs:
            mine += theirs
            group_of.update(dict.fromkeys(theirs, mine))
    return list({id(group): group for group in group_of.values()}.values())


def play(found: Sequence[list[str]], chance: random.Random, semantics: Semantics) -> list[Asking]:
    """Ask a knowledge base made of some of these groups for the right one among its closest."""
    several, others = [sorted(one) for one in found if len(one) > 1], [one[0] for one in found if len(one) == 1]
    chance.shuffle(several)
    kept = several[: int(SHARE * len(several))]
    standard = [chance.choice(group) for group in kept]
    articles = [Article(str(n), question, (), "") for n, question in enumerate((*standard, *others))]
    index = Index(articles, semantics.vectors)
    asked = [(other, n) for n, group in enumerate(kept) for other in group if other != standard[n]]
    vectors = semantics.vectors([other for other, _ in asked])
    return [one for (other, n), v in zip(asked, vectors, strict=True) if (one := _ask(index, other, v, str(n)))]


def _ask(index: Index, text: str, vector: Vectors, article_id: str) -> Asking | None:
    question = index.read(text, vector)
    if question is None:
        return None
    numbers = index.candidates(question)
    ids = [index.entries[number].article.id for number in numbers.tolist()]
    if article_id not in ids or len(ids) < 2:
        return None
    return Asking(index.features(question, numbers), ids.index(article_id))


def fit(askings: Sequence[Asking], counts: Floats, names: Sequence[str]) -> dict[str, float]:
    """Weights under which the right candidate is likeliest (softmax), each with the sign it must have.

    counts: how much each asking counts; they sum to 1.
    """
    features = np.vstack([one.features for one in askings])
    starts = np.cumsum([0, *(len(one.features) for one in askings[:-1])])
    owner = np.repeat(np.arange(len(askings)), [len(one.features) for one in askings])
    right = np.zeros(len(features))
    right[starts + [one.right for one in askings]] = 1
    spread = features.std(axis=0) + 1e-9
    scaled = (features - features.mean(axis=0)) / spread
    signs = np.array([-1.0 if name in AGAINST else 1.0 for name in names])
    weights, first, second = np.zeros(len(names)), np.zeros(len(names)), np.zeros(len(names))
    for step in range(1, STEPS + 1):  # Adam (Kingma and Ba, 2015), each step brought back to the allowed signs
        score = scaled @ weights
        likelihood = np.exp(score - np.maximum.reduceat(score, starts)[owner])
        likelihood /= np.add.reduceat(likelihood, starts)[owner]
        slope = scaled.T @ ((likelihood - right) * counts[owner]) + RIDGE * weights
        first, second = 0.9 * first + 0.1 * slope, 0.999 * second + 0.001 * slope * slope
        pace = STEP * min(1.0, 2 - 2 * step / STEPS)
        weights -= pace * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
        weights = np.where(weights * signs > 0, weights, 0.0)
    return {name: round(float(weight), 3) for name, weight in zip(names, weights / spread, strict=True)}


def learn(files: Sequence[Path], without: Collection[str], semantics: Semantics) -> dict[str, object]:
    """The content of weights.json. The lexical weights are fitted on the same candidates, without e5's column."""
    askings: list[Asking] = []
    counts: list[float] = []
    for path in files:
        found = groups([pair for pair in read_pairs(path) if not {letters(pair[0]), letters(pair[1])} & set(without)])
        of_file = [one for number in range(PLAYS) for one in play(found, random.Random(number), semantics)]
        askings += of_file
        counts += [1 / (len(files) * len(of_file))] * len(of_file)
    lexical = [replace(one, features=one.features[:, :-1]) for one in askings]
    return {
        "made_by": MADE_BY,
        "questions_asked": len(askings),
        "lexical": fit(lexical, np.array(counts), FEATURES),
        "semantic": fit(askings, np.array(counts), (*FEATURES, SEMANTIC)),
    }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("pairs", type=Path, nargs="+")
    options.add_argument("--without", type=Path, nargs="*", default=[], help="files of {query} to be judged by")
    options.add_argument("--vectors", type=Path, required=True, help="where the model's vectors are kept between runs")
    options.add_argument("--out", type=Path, required=True)
    chosen = options.parse_args()
    without = set[str]().union(*map(questions_in, chosen.without))
    weights = learn(chosen.pairs, without, Semantics(LocalModel(), file=chosen.vectors))
    chosen.out.write_text(json.dumps(weights, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
