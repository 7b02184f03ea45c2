"""How well the matcher does on questions with known answers, and on such as have none."""

import json
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bot.faq.articles import Article
from bot.faq.matcher import Match, Matcher
from bot.faq.normalize import letters
from bot.faq.semantic import Semantics

RANKS = 10  # below it a right article counts as not found
FALSE_SHARE = 0.05  # of out-of-scope questions that get an answer, where "right at 5 %" is read
ABOVE_ALL = 10.0  # what the lexical tier is certain of stands above whatever the semantic tier says


@dataclass(frozen=True, slots=True)
class Sets:
    """A knowledge base of single questions, questions it answers, and questions it does not."""

    articles: Sequence[Article]
    queries: Sequence[tuple[str, str]]  # text and the right article's id
    out_of_scope: Sequence[tuple[str, str]]  # text and its kind
    confirmed: Sequence[tuple[str, str]] = ()  # texts that people called the same; none of them is asked


@dataclass(frozen=True, slots=True)
class Asked:
    match: Match
    seconds: float
    sureness: float  # one scale over both tiers


def read(kb: Path, queries: Path, out_of_scope: Path, pairs: Path | None = None) -> Sets:
    """JSON lines: {"id", "question"}, {"query", "answer_id"}, {"query", "kind"}, {"a", "b", "same"}.

    A pair with a question that will be asked is left out: it may be the answer.
    """
    inside = [(row["query"], str(row["answer_id"])) for row in _rows(queries)]
    outside = [(row["query"], str(row.get("kind", ""))) for row in _rows(out_of_scope)]
    asked = {letters(text) for text, _ in (*inside, *outside)}
    same = [(row["a"], row["b"]) for row in _rows(pairs) if row["same"]] if pairs else []
    return Sets(
        [Article(str(row["id"]), row["question"], (), "") for row in _rows(kb)],
        inside,
        outside,
        [pair for pair in same if asked.isdisjoint(map(letters, pair))],
    )


def evaluate(sets: Sets, semantics: Semantics | None = None) -> dict[str, Any]:
    """Figures by name; shares run from 0 to 1. Nothing is learnt from the questions asked, as in the service."""
    matcher = Matcher(sets.articles, semantics=semantics, confirmed=sets.confirmed)
    inside = [_ask(matcher, semantics, text) for text, _ in sets.queries]
    outside = [_ask(matcher, semantics, text) for text, _ in sets.out_of_scope]
    ranks = [_rank(asked.match, wanted) for asked, (_, wanted) in zip(inside, sets.queries, strict=True)]
    first = np.array([rank == 1 for rank in ranks])
    answered = np.array([one.match.kind == "answer" for one in inside])
    sureness = np.array([one.sureness for one in inside])
    bar = np.sort([one.sureness for one in outside])[::-1][int(FALSE_SHARE * len(outside))]
    milliseconds = 1000 * np.array([one.seconds for one in (*inside, *outside)])
    calibration = matcher.meant or matcher.calibration
    false = [one.match.kind == "answer" for one in outside]
    offered = [_offers(one.match, wanted) for one, (_, wanted) in zip(inside, sets.queries, strict=True)]
    return {
        "tier": "semantic" if semantics else "lexical",
        "articles": len(sets.articles),
        "queries": len(sets.queries),
        "out_of_scope": len(sets.out_of_scope),
        "recall_at_1": float(np.mean(first)),
        "recall_at_3": float(np.mean([0 < rank <= 3 for rank in ranks])),
        "mrr": float(np.mean([1 / rank if rank else 0.0 for rank in ranks])),
        "right_at_5pct_false": float(np.mean(first & (sureness > bar))),
        "threshold": calibration.thresholds.answer,
        "answered": float(np.mean(answered)),
        "right": float(np.mean(first & answered)),
        "false_answer": float(np.mean(false)),
        "false_answer_by_kind": _by_kind(false, [kind for _, kind in sets.out_of_scope]),
        "offered_right": float(np.mean(offered)),
        "p50_ms": float(np.percentile(milliseconds, 50)),
        "p99_ms": float(np.percentile(milliseconds, 99)),
    }


def _ask(matcher: Matcher, semantics: Semantics | None, text: str) -> Asked:
    """As the service does: the semantic tier works beforehand, where the lexical one is not certain."""
    began = time.perf_counter()
    if semantics is not None and not matcher.is_certain(text):
        semantics.think([text])
    match = matcher.match(text, keep=RANKS)
    seconds = time.perf_counter() - began
    above = ABOVE_ALL if semantics is not None and match.tier == "lexical" and match.kind == "answer" else 0.0
    return Asked(match, seconds, match.confidence + above)


def _rank(match: Match, article_id: str) -> int:
    """Where the right article stands, from 1; 0 when it is not among the hits."""
    ids = [hit.article_id for hit in match.hits]
    return ids.index(article_id) + 1 if article_id in ids else 0


def _offers(match: Match, article_id: str) -> bool:
    return match.kind == "suggest" and article_id in [hit.article_id for hit in match.hits[:3]]


def _by_kind(false: Sequence[bool], kinds: Sequence[str]) -> Mapping[str, float]:
    found: defaultdict[str, list[bool]] = defaultdict(list)
    for kind, one in zip(kinds, false, strict=True):
        found[kind].append(one)
    return {kind: float(np.mean(ones)) for kind, ones in sorted(found.items())}


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
