"""The ridge of a fixed penalty, as HEST-Library computes it with scikit-learn.

HEST-Benchmark's regression (scikit-learn's `lsqr`) stops at a tolerance of 1e-4, long before it has converged, so its
score is that of the path and not of the solution: it moves with the types of all that goes in, with the order of the
spots and with the rounding of the single-precision decomposition. The types and the order are kept here as they are
there (features, scaler and components in single precision, the regression in double). The rounding is the linear
algebra's own: it differs between one thread and several, so the number of threads is fixed, and between processors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from spotweave.probes import Choices, Training
from spotweave.probes.ridge.principal import kept_components

Array = NDArray[np.float64]

LSQR_ITERATIONS = 1000
# Two or more threads round alike, one rounds otherwise: the score must not depend on the cores that a job was given.
BLAS_THREADS = 2


@dataclass(frozen=True)
class FixedProbe:
    """A fitted scaler and PCA, and the linear map that follows them."""

    reduction: Pipeline
    coefficients: Array
    intercept: Array
    features_dtype: str
    details: dict[str, Any]

    def predict(self, features: NDArray[np.floating]) -> Array:
        """(N, D) embeddings -> (N, G) float64."""
        with threadpool_limits(BLAS_THREADS, user_api="blas"):
            components = self.reduction.transform(features.astype(self.features_dtype)).astype(np.float64)
        return components @ self.coefficients + self.intercept


def fixed_alpha(components: int, genes: int) -> float:
    """HEST-Benchmark's penalty, 100 / (components x genes): 0.0078125 for 256 and 50."""
    return 100 / (components * genes)


def fit_fixed(training: Training, choices: Choices, seed: int) -> FixedProbe:
    """Fit scaler, PCA and ridge once; `details` has `alpha` and `components`."""
    kept = kept_components(choices.max_components, *training.features.shape)
    reduction = make_pipeline(StandardScaler(), PCA(n_components=kept, random_state=seed))
    with threadpool_limits(BLAS_THREADS, user_api="blas"):
        components = reduction.fit_transform(training.features.astype(choices.features_dtype)).astype(np.float64)
    genes = training.target.shape[1]
    alpha = fixed_alpha(kept, genes)
    ridge = Ridge(
        alpha=alpha,
        solver="lsqr",
        fit_intercept=choices.fit_intercept,
        max_iter=LSQR_ITERATIONS,
        random_state=seed,
    ).fit(components, training.target)
    return FixedProbe(
        reduction,
        np.atleast_2d(ridge.coef_).T,
        np.broadcast_to(np.asarray(ridge.intercept_, dtype=np.float64), (genes,)),
        choices.features_dtype,
        {"alpha": alpha, "components": kept},
    )
