"""The ridge of a fixed penalty, as HEST-Library computes it with scikit-learn.

HEST-Benchmark's regression (scikit-learn's `lsqr`) stops at a tolerance of 1e-4, long before it has converged, so its
score is that of the path and not of the solution: it moves with the types of all that goes in, with the order of the
spots and with the rounding of the single-precision decomposition. The types and the order are kept here as they are
there (features, scaler and components in single precision, the regression in double). The rounding is the linear
algebra's own: it differs between one thread and several, so the number of threads is fixed, and between processors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from spotweave.probes import Choices, Training
from spotweave.probes.ridge.principal import fixed_alpha, kept_components

Array = NDArray[np.float64]

LSQR_ITERATIONS = 1000
# Two or more threads round alike, one rounds otherwise: the score must not depend on the cores that a job was given.
BLAS_THREADS = 2


@dataclass(frozen=True)
class FixedProbe:
    """A fitted scaler and PCA, and the linear map that follows them."""

    reduce: Callable[[NDArray[np.floating]], Array]
    coefficients: Array
    intercept: Array
    details: dict[str, Any]

    def predict(self, features: NDArray[np.floating]) -> Array:
        """(N, D) embeddings -> (N, G) float64."""
        return self.reduce(features) @ self.coefficients + self.intercept


def fit_reduction(
    features: NDArray[np.floating], choices: Choices, seed: int, *, reduced: bool = True
) -> tuple[Array, Callable[[NDArray[np.floating]], Array]]:
    """(N, K) components of standardised (N, D) features, in float64, and the function that makes those of others.

    Without `reduced` they are only standardised: K = D.
    """
    kept = kept_components(choices.max_components, *features.shape)
    steps = [StandardScaler(), PCA(n_components=kept, random_state=seed)]
    fitted = make_pipeline(*steps[: 1 + reduced])
    with threadpool_limits(BLAS_THREADS, user_api="blas"):
        components = fitted.fit_transform(features.astype(choices.features_dtype)).astype(np.float64)

    def reduce(others: NDArray[np.floating]) -> Array:
        with threadpool_limits(BLAS_THREADS, user_api="blas"):
            return fitted.transform(others.astype(choices.features_dtype)).astype(np.float64)

    return components, reduce


def fit_fixed(training: Training, choices: Choices, seed: int, *, reduced: bool = True) -> FixedProbe:
    """Fit scaler, PCA (only if `reduced`) and ridge once; `details` has `alpha` and, if reduced, `components`."""
    components, reduce = fit_reduction(training.features, choices, seed, reduced=reduced)
    (_, columns), genes = components.shape, training.target.shape[1]
    alpha = choices.alpha_grid[0] if choices.alpha_rule == "given" else fixed_alpha(columns, genes)
    ridge = Ridge(
        alpha=alpha,
        solver="lsqr",
        fit_intercept=choices.fit_intercept,
        max_iter=LSQR_ITERATIONS,
        random_state=seed,
    ).fit(components, training.target)
    return FixedProbe(
        reduce,
        np.atleast_2d(ridge.coef_).T,
        np.broadcast_to(np.asarray(ridge.intercept_, dtype=np.float64), (genes,)),
        {"alpha": alpha, "components": columns if reduced else None},
    )
