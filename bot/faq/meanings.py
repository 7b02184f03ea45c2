"""Wordings as vectors of meaning: whose are close although their words differ."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bot.faq.grams import Floats, Ints

Vectors = NDArray[np.float32]
NEAREST = 20  # wordings proposed by meaning alone


class Embedder(Protocol):
    """A model of meaning. `name` tells its vectors from another model's; `embed` may take long and may fail."""

    name: str

    def embed(self, texts: Sequence[str]) -> Vectors: ...


class Meanings:
    """The vectors of an index's wordings, in their order. Immutable.

    What all wordings of a shop have in common says nothing, so the mean is taken out: raw e5 cosines of any two
    questions lie between 0.8 and 1.
    """

    def __init__(self, vectors: Vectors) -> None:
        self._mean = vectors.mean(axis=0) if len(vectors) else np.zeros(vectors.shape[1:], np.float32)
        self._raw, self._vectors = vectors, _unit(vectors - self._mean)

    def vector(self, number: int) -> Vectors:
        """A wording's own vector, to ask with."""
        vector: Vectors = self._raw[number]
        return vector

    def nearest(self, vector: Vectors) -> Ints:
        """The wordings closest to a question's vector."""
        # Not `@`: with this many numbers OpenBLAS wakes a second thread, which then keeps a core busy for 20 ms.
        close = np.einsum("ij,j->i", self._vectors, self._centred(vector))
        if len(close) <= NEAREST:
            return np.arange(len(close))
        return np.argpartition(-close, NEAREST)[:NEAREST]

    def closeness(self, vector: Vectors, numbers: Ints) -> Floats:
        """Cosine of a question's vector and some wordings', 0 to 1."""
        cosines: Floats = self._vectors[numbers] @ self._centred(vector)
        return cosines.clip(0.0, 1.0)

    def _centred(self, vector: Vectors) -> Vectors:
        return _unit(vector - self._mean)


def _unit(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    unit: Vectors = (vectors / np.maximum(lengths, 1e-9)).astype(np.float32)
    return unit
