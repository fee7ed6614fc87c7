"""The floor of depth: the embedding may tell how deeply a spot was sequenced, and nothing else of it.

A ridge (`ridge.py`, under the protocol's choices) leads from the embedding to one number, ln(1 + counts of the spot).
Each gene is then a line in that predicted depth, fitted by least squares on the training spots, with an intercept
whatever the protocol. Every gene has the same pattern over a section, up or down: what a predictor scores above this
floor is more than density of cells and quality of the tissue.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spotweave.probes import Choices, Probe, Training, ridge

Array = NDArray[np.float64]


@dataclass(frozen=True)
class DepthProbe:
    """A fitted probe of one target, the depth; its (,) training mean; and (G,) slopes and means of the genes."""

    depth: Probe
    middle: float
    slopes: Array
    means: Array

    @property
    def details(self) -> dict[str, Any]:
        return self.depth.details

    def predict(self, features: NDArray[np.floating]) -> Array:
        """(N, D) embeddings -> (N, G) float64."""
        return (self.depth.predict(features) - self.middle) * self.slopes + self.means


def fit(training: Training, choices: Choices, seed: int) -> DepthProbe:
    """Fit the depth, then the lines; a depth that is the same everywhere leaves the training mean of each gene.

    Raises
    ------
    ValueError
        If the training spots come without their depth.
    """
    if training.depth is None:
        raise ValueError("the probe depth needs the depth of the training spots")
    probe = ridge.fit(replace(training, target=training.depth[:, None]), choices, seed)
    predicted = probe.predict(training.features)[:, 0]
    middle, means = float(predicted.mean()), training.target.mean(axis=0)
    from_middle = predicted - middle
    spread = float(from_middle @ from_middle)
    slopes = from_middle @ (training.target - means) / spread if spread > 0 else np.zeros_like(means)
    return DepthProbe(probe, middle, slopes, means)
