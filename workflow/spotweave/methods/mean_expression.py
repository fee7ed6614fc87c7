"""The floor without a picture: every spot gets the training mean of each gene.

Its predictions are constant, so every Pearson correlation is undefined and counts as zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spotweave.methods import Job, Sample, Training


@dataclass(frozen=True)
class Mean:
    """The training mean, (G,) float64."""

    mean: NDArray[np.float64]
    details: Mapping[str, Any] = field(default_factory=dict)

    def predict(self, sample: Sample) -> NDArray[np.float64]:
        """(N, G): the mean, a row a spot."""
        return np.tile(self.mean, (len(sample.spots), 1))


def fit(training: Training, row: Mapping[str, str], job: Job) -> Mean:
    """Average the training expression over spots, whatever sample they are of."""
    return Mean(np.concatenate([known.expression for known in training.samples]).mean(axis=0))
