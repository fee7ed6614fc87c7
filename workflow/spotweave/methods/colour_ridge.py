"""The floor of colour: ridge regression on 31 statistics of a patch's colours and edges. No network is trained.

What a network has to beat before it may be called one that sees tissue. Statistics are standardised by the training
spots; the penalty is fixed (100), as in the floors that the eleven-method benchmark was held against.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spotweave.methods import Job, Sample, Training

NEEDS = ("patches",)

Array = NDArray[np.float64]
PENALTY = 100.0
QUANTILES = (0.1, 0.5, 0.9)
# Edges are measured between pixels so far apart.
STEPS_PX = (1, 2, 4, 8)
# Means and deviations of three channels and of the optical density, quantiles of each, edges along x and y.
STATISTICS = 4 * (2 + len(QUANTILES)) + 2 * len(STEPS_PX) + 3


@dataclass(frozen=True)
class ColourRidge:
    """`centre` and `spread` (S,) of the statistics, `weights` (S, G) and `mean` (G,) of expression."""

    centre: Array
    spread: Array
    weights: Array
    mean: Array

    @property
    def details(self) -> dict[str, Any]:
        return {"statistics": STATISTICS, "penalty": PENALTY}

    def predict(self, sample: Sample) -> Array:
        """(N, G): a line in the statistics."""
        return (_statistics(sample) - self.centre) / self.spread @ self.weights + self.mean


def fit(training: Training, row: Mapping[str, str], job: Job) -> ColourRidge:
    """Least squares with a penalty on the standardised statistics of training spots; the intercept has none."""
    shown = np.concatenate([_statistics(known.sample) for known in training.samples])
    expression = np.concatenate([known.expression for known in training.samples])
    centre, spread = shown.mean(axis=0), shown.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    standard = (shown - centre) / spread
    mean = expression.mean(axis=0)
    gram = standard.T @ standard + PENALTY * np.eye(standard.shape[1])
    return ColourRidge(centre, spread, np.linalg.solve(gram, standard.T @ (expression - mean)), mean)


def _statistics(sample: Sample) -> Array:
    """(N, 31) float64, each patch by itself."""
    found = [_of_patch(patch) for images in sample.images() for patch in images]
    return np.array(found, dtype=np.float64).reshape(len(sample.spots), STATISTICS)


def _of_patch(patch: NDArray[np.uint8]) -> Array:
    pixels = patch.astype(np.float64) / 255
    grey = pixels.mean(axis=2)
    density = -np.log10(np.maximum(grey, 1 / 255))
    planes = [*pixels.transpose(2, 0, 1), density]
    spread = [[plane.mean(), plane.std(), *np.quantile(plane, QUANTILES)] for plane in planes]
    edges = [
        [np.abs(grey[:, step:] - grey[:, :-step]).mean(), np.abs(grey[step:] - grey[:-step]).mean()]
        if min(grey.shape) > step
        else [0.0, 0.0]
        for step in STEPS_PX
    ]
    # How the channels go together: what stains, beyond how dark it is.
    pairs = [((pixels[..., one] - pixels[..., other]).mean()) for one, other in ((0, 1), (0, 2), (1, 2))]
    return np.concatenate([np.ravel(spread), np.ravel(edges), pairs])
