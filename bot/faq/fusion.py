"""How much each feature counts. The weights were fitted offline and lie beside this file, readable."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from bot.faq.features import FEATURES, SEMANTIC

WEIGHTS = Path(__file__).with_name("weights.json")  # says in "made_by" how it was made


@dataclass(frozen=True, slots=True)
class Fusion:
    """A weighted sum of features: 1 for the same wording, about 0 for another matter."""

    lexical: NDArray[np.float64]  # by FEATURES
    semantic: NDArray[np.float64]  # by FEATURES and e5

    @classmethod
    def load(cls, path: Path = WEIGHTS) -> Self:
        weights = json.loads(path.read_text(encoding="utf-8"))
        return cls(_column(weights["lexical"], FEATURES), _column(weights["semantic"], (*FEATURES, SEMANTIC)))

    def likeness(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """One number per row of `features`, at most 1; with e5's column or without it."""
        weights = self.semantic if features.shape[1] == len(self.semantic) else self.lexical
        likeness: NDArray[np.float64] = features @ weights
        return likeness.clip(min=0.0)


def _column(weights: Mapping[str, float], names: tuple[str, ...]) -> NDArray[np.float64]:
    """Weights in the order of `names`, scaled so that the same wording scores 1."""
    values = np.array([weights[name] for name in names])
    return values / float(values[values > 0].sum())
