"""Wordings as vectors of meaning: whose are close although their words differ."""

from collections.abc import Sequence
from typing import Protocol, Self

import numpy as np

from bot.faq import lens
from bot.faq.grams import Floats, Ints
from bot.faq.lens import Vectors as Vectors

NEAREST = 20  # wordings proposed by meaning alone
FOLDS = 2  # lenses to judge by: each was learnt without the subjects it is to judge


class Embedder(Protocol):
    """A model of meaning. `name` tells its vectors from another model's; `embed` may take long and may fail."""

    name: str

    def embed(self, texts: Sequence[str]) -> Vectors: ...


class Meanings:
    """The vectors of an index's wordings, in their order. Immutable.

    What all wordings of a shop have in common says nothing, so the mean is taken out: raw e5 cosines of any two
    questions lie between 0.8 and 1. What is left is seen through a lens, where there is one.
    """

    def __init__(self, vectors: Vectors, through: Vectors | None = None) -> None:
        self._mean = vectors.mean(axis=0) if len(vectors) else np.zeros(vectors.shape[1:], np.float32)
        self._raw, self._lens = vectors, through
        self._vectors = _unit(vectors - self._mean)
        if through is not None:
            self._vectors = _unit(self._vectors @ through)

    @classmethod
    def learnt(cls, vectors: Vectors, subjects: Sequence[int], confirmed: Vectors, of: Sequence[int]) -> list[Self]:
        """With a lens learnt from wordings of the same subject, and after it the FOLDS ones to judge that by.

        subjects: one per vector. confirmed: what people said means the same, of these subjects.
        """
        plain = cls(vectors)
        known = np.concatenate([plain._vectors, _unit(confirmed - plain._mean)]) if len(of) else plain._vectors
        said = np.array([*subjects, *of], np.int64)
        whole = lens.fit(known, said.tolist())
        if whole is None:
            return [plain]
        parts = [said % FOLDS != fold for fold in range(FOLDS)]
        return [cls(vectors, whole), *(cls(vectors, lens.fit(known[one], said[one].tolist())) for one in parts)]

    def vector(self, number: int) -> Vectors:
        """A wording's own vector, to ask with."""
        vector: Vectors = self._raw[number]
        return vector

    def nearest(self, vector: Vectors) -> Ints:
        """The wordings closest to a question's vector."""
        # Not `@`: with this many numbers OpenBLAS wakes a second thread, which then keeps a core busy for 20 ms.
        close = np.einsum("ij,j->i", self._vectors, self._seen(vector))
        if len(close) <= NEAREST:
            return np.arange(len(close))
        return np.argpartition(-close, NEAREST)[:NEAREST]

    def closeness(self, vector: Vectors, numbers: Ints) -> Floats:
        """Cosine of a question's vector and some wordings', 0 to 1."""
        cosines: Floats = self._vectors[numbers] @ self._seen(vector)
        return cosines.clip(0.0, 1.0)

    def _seen(self, vector: Vectors) -> Vectors:
        centred = _unit(vector - self._mean)
        return centred if self._lens is None else _unit(np.einsum("i,ij->j", centred, self._lens))


def _unit(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    unit: Vectors = (vectors / np.maximum(lengths, 1e-9)).astype(np.float32)
    return unit
