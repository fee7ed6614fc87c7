"""The baseline without an image: every spot gets the training mean of each gene.

Its predictions are constant, so every Pearson correlation is undefined and counts as zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spotweave.probes import Choices, Training


@dataclass(frozen=True)
class MeanProbe:
    """The training mean, (G,) float64."""

    mean: NDArray[np.float64]

    @property
    def details(self) -> dict[str, Any]:
        return {"alpha": None, "components": None}

    def predict(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """(N, D) embeddings, of which only N matters -> (N, G)."""
        return np.tile(self.mean, (len(features), 1))


def fit(training: Training, choices: Choices, seed: int) -> MeanProbe:
    """Average the training target over spots."""
    return MeanProbe(training.target.mean(axis=0))
