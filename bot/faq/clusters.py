"""Sorts questions that mean the same into clusters, by their characters: rules only, no database."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from bot.faq.normalize import fold_synonyms, normalize

# Cosine to a cluster's middle from which a question belongs to it. Measured on 60 articles of the demo shop, all their
# wordings shuffled: at 0.32 nine in ten questions lie with their like; lower gathers more, and mixes.
ALIKE = 0.32
Vector = Mapping[str, float]


@dataclass(slots=True)
class Cluster:
    """What has gathered so far. id: of the row, None for a new one."""

    id: int | None
    questions: list[int] = field(default_factory=list)  # ids of those sorted in now
    sum: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))

    def take(self, vector: Vector) -> None:
        for gram, weight in vector.items():
            self.sum[gram] += weight

    def likeness(self, vector: Vector) -> float:
        """Cosine of `vector`, which has length 1, to the middle of the cluster."""
        length = math.sqrt(sum(weight * weight for weight in self.sum.values()))
        return sum(weight * self.sum.get(gram, 0.0) for gram, weight in vector.items()) / length if length else 0.0


def sort(
    questions: Sequence[tuple[int, str]], known: Mapping[int, Sequence[str]], background: Iterable[str]
) -> list[Cluster]:
    """Each question (id, text) goes to the cluster it is most like, or begins one; clusters that got none are left out.

    known: texts of the clusters there are, by id. background: texts that tell which characters are common, such as the
    published wordings. In the order of the questions, so the same questions sort the same. O(questions × clusters that
    share a character with them).
    """
    weigh = _weights([*background, *(text for _, text in questions)])
    clusters = [_known(id_, texts, weigh) for id_, texts in known.items()]
    holders: defaultdict[str, set[int]] = defaultdict(set)  # gram to the places of the clusters that have it
    for place, cluster in enumerate(clusters):
        _note(holders, place, cluster.sum)
    for id_, text in questions:
        vector = _vector(text, weigh)
        near = {place for gram in vector if len(gram) == 2 for place in holders.get(gram, ())}
        likeness, place = max(((clusters[place].likeness(vector), place) for place in sorted(near)), default=(0.0, -1))
        if likeness < ALIKE:
            place = len(clusters)
            clusters.append(Cluster(None))
        clusters[place].take(vector)
        clusters[place].questions.append(id_)
        _note(holders, place, vector)
    return [cluster for cluster in clusters if cluster.questions]


def _known(id_: int, texts: Sequence[str], weigh: Mapping[str, float]) -> Cluster:
    cluster = Cluster(id_)
    for text in texts:
        cluster.take(_vector(text, weigh))
    return cluster


def _note(holders: defaultdict[str, set[int]], place: int, vector: Vector) -> None:
    for gram in vector:
        if len(gram) == 2:  # one shared character is no reason to look
            holders[gram].add(place)


def _weights(texts: Sequence[str]) -> Mapping[str, float]:
    held = Counter(gram for text in texts for gram in set(_grams(text)))
    return {gram: math.log((1 + len(texts)) / (1 + n)) + 1 for gram, n in held.items()}


def _vector(text: str, weigh: Mapping[str, float]) -> Vector:
    rare = max(weigh.values(), default=1.0)
    raw = {gram: (1 + math.log(n)) * weigh.get(gram, rare) for gram, n in Counter(_grams(text)).items()}
    length = math.sqrt(sum(weight * weight for weight in raw.values())) or 1.0
    return {gram: weight / length for gram, weight in raw.items()}


def _grams(text: str) -> list[str]:
    folded = fold_synonyms(normalize(text))
    return [*folded, *map("".join, pairwise(folded))]
