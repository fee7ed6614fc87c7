"""The ridge whose penalty is chosen within the training spots.

Scaler, PCA and ridge are fitted anew without each inner fold, and the penalty with the highest Pearson correlation on
the held-out spots wins, the correlation taken within each sample. A tie goes to the stronger penalty.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from spotweave.correlation import standardised
from spotweave.probes import Choices, Training
from spotweave.probes.ridge.principal import BLAS_THREADS, Principal, kept_components, of_scatter, of_spots
from spotweave.probes.ridge.scatter import Scatter, joined

Array = NDArray[np.float64]


@dataclass(frozen=True)
class NestedProbe:
    """A linear map: (D,) mean of the training features, (D, G) coefficients, (G,) prediction at the mean."""

    features_mean: Array
    coefficients: Array
    intercept: Array
    details: dict[str, Any]

    def predict(self, features: NDArray[np.floating]) -> Array:
        """(N, D) embeddings -> (N, G) float64."""
        with threadpool_limits(BLAS_THREADS, user_api="blas"):
            return (features.astype(np.float64) - self.features_mean) @ self.coefficients + self.intercept


def fit_cross_validated(training: Training, choices: Choices) -> NestedProbe:
    """Choose the penalty, then fit all training spots with it."""
    if choices.features_dtype != "float64":
        raise ValueError(f"a cross-validated penalty is fitted in float64, not in {choices.features_dtype}")
    if not np.isfinite(training.features).all():
        raise ValueError("an embedding is not finite")
    with threadpool_limits(BLAS_THREADS, user_api="blas"):
        fits = _Fits(training, choices)
        grid = np.asarray(choices.alpha_grid)
        curve = fits.inner_curve(grid)
        alpha = float(grid[np.flatnonzero(curve == curve.max())[-1]])
        principal, kept = fits.all_but(None)
        coefficients = principal.basis @ principal.weights(np.array([alpha]))[:, 0]
    details = {
        "alpha": alpha,
        "components": kept,
        "alpha_curve": [float(score) for score in curve],
        "alpha_at_edge": alpha in (grid[0], grid[-1]),
    }
    return NestedProbe(principal.features_mean, coefficients, fits.intercept(principal), details)


class _Fits:
    """Fits to the training spots of all inner folds but one."""

    def __init__(self, training: Training, choices: Choices) -> None:
        self.training, self.choices = training, choices
        self.held_out = [training.inner_folds == fold for fold in np.unique(training.inner_folds)]
        if len(self.held_out) < 2:
            raise ValueError("cross-validation needs at least two inner folds")
        spots, dimensions = training.features.shape
        # Where there are more dimensions than spots, the spots' products are smaller, and nothing can be shared.
        self.scatters = (
            [Scatter.of(training.features[rows], training.target[rows]) for rows in self.held_out]
            if dimensions <= spots
            else []
        )

    def all_but(self, fold: int | None) -> tuple[Principal, int]:
        """Components of the spots outside a fold (None: of all), and how many they are by name."""
        rows = ~self.held_out[fold] if fold is not None else np.ones(len(self.training.target), dtype=bool)
        kept = kept_components(self.choices.max_components, int(rows.sum()), self.training.features.shape[1])
        found = None
        if self.scatters:
            found = of_scatter(joined([one for at, one in enumerate(self.scatters) if at != fold]), kept)
        return found or of_spots(self.training.features[rows], self.training.target[rows], kept), kept

    def intercept(self, principal: Principal) -> Array:
        """(G,) prediction at the mean of the features."""
        return principal.target_mean if self.choices.fit_intercept else np.zeros_like(principal.target_mean)

    def inner_curve(self, alphas: Array) -> Array:
        """(A,) correlation of each penalty: mean over samples and genes, then inner folds; undefined counts 0."""
        return np.mean([self._curve(fold, alphas) for fold in range(len(self.held_out))], axis=0)

    def _curve(self, fold: int, alphas: Array) -> Array:
        principal, _ = self.all_but(fold)
        weights, intercept = principal.weights(alphas), self.intercept(principal)
        curves, columns = [], len(alphas) * len(intercept)
        for sample in np.unique(self.training.samples[self.held_out[fold]]):
            rows = np.flatnonzero(self.held_out[fold] & (self.training.samples == sample))
            components = principal.components(self.training.features[rows])
            # Every penalty and gene is a column of one product.
            predicted = components @ weights.reshape(len(weights), columns) + np.tile(intercept, len(alphas))
            predicted = standardised(predicted).reshape(len(rows), len(alphas), len(intercept))
            correlation = np.einsum("nag,ng->ag", predicted, standardised(self.training.target[rows]))
            curves.append(np.nan_to_num(correlation.clip(-1, 1)).mean(axis=1))
        return np.mean(curves, axis=0)
