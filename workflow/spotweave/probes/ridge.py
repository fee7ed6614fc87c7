"""Standardise, PCA, ridge regression: the linear probe of HEST-Benchmark, and its cross-validated form.

HEST-1k (Jaume et al. 2024, section 5 and appendix C.3) standardises the embeddings, keeps 256 principal components
and fits a ridge with the fixed penalty 100 / (components x genes). The penalty decides much of the score, so
`"cross-validated"` chooses it within the training spots instead: scaler, PCA and ridge are fitted anew without each
inner fold, and the penalty with the highest Pearson correlation on the held-out spots wins, the correlation taken
within each sample. A tie goes to the stronger penalty.

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

from spotweave.correlation import pearson_by_group
from spotweave.probes import Choices, Training

Array = NDArray[np.float64]

LSQR_ITERATIONS = 1000
# Two or more threads round alike, one rounds otherwise: the score must not depend on the cores that a job was given.
BLAS_THREADS = 2


@dataclass(frozen=True)
class RidgeProbe:
    """A fitted scaler and PCA, and the linear map that follows them."""

    reduction: Pipeline
    coefficients: Array
    intercept: Array
    features_dtype: str
    details: dict[str, Any]

    def predict(self, features: NDArray[np.floating]) -> Array:
        """(N, D) embeddings -> (N, G) float64."""
        return _reduce(self.reduction, features, self.features_dtype) @ self.coefficients + self.intercept


@dataclass(frozen=True)
class RidgePath:
    """Ridge regressions of one training set for every penalty, through one singular value decomposition.

    With centred features Z = U diag(s) V^T and centred target Y, the coefficients are V diag(s / (s^2 + alpha)) U^T Y
    (Hastie, Tibshirani & Friedman, The Elements of Statistical Learning, 2nd edition, eq. 3.47).
    """

    right: Array
    singular: Array
    projected: Array
    features_mean: Array
    target_mean: Array

    def coefficients(self, alpha: float) -> tuple[Array, Array]:
        """(K, G) coefficients and (G,) intercept for one penalty > 0."""
        weights = self.singular / (self.singular**2 + alpha)
        coefficients = self.right.T @ (weights[:, None] * self.projected)
        return coefficients, self.target_mean - self.features_mean @ coefficients


def ridge_path(features: Array, target: Array, *, fit_intercept: bool = True) -> RidgePath:
    """Decompose (N, K) features and project the (N, G) target; without an intercept nothing is centred."""
    features_mean = features.mean(axis=0) if fit_intercept else np.zeros(features.shape[1])
    target_mean = target.mean(axis=0) if fit_intercept else np.zeros(target.shape[1])
    left, singular, right = np.linalg.svd(features - features_mean, full_matrices=False)
    return RidgePath(right, singular, left.T @ (target - target_mean), features_mean, target_mean)


def fixed_alpha(components: int, genes: int) -> float:
    """HEST-Benchmark's penalty, 100 / (components x genes): 0.0078125 for 256 and 50."""
    return 100 / (components * genes)


def fit(training: Training, choices: Choices, seed: int) -> RidgeProbe:
    """Fit the probe; `details` has `alpha`, `components` and, where cross-validated, the curve over the grid."""
    if choices.alpha_rule == "cross-validated":
        return _fit_cross_validated(training, choices, seed)
    return _fit_fixed(training, choices, seed)


def _fit_fixed(training: Training, choices: Choices, seed: int) -> RidgeProbe:
    reduction, components = _fit_reduction(training.features, choices, seed)
    alpha = fixed_alpha(components.shape[1], training.target.shape[1])
    ridge = Ridge(
        alpha=alpha,
        solver="lsqr",
        fit_intercept=choices.fit_intercept,
        max_iter=LSQR_ITERATIONS,
        random_state=seed,
    ).fit(components, training.target)
    genes = training.target.shape[1]
    return RidgeProbe(
        reduction,
        np.atleast_2d(ridge.coef_).T,
        np.broadcast_to(np.asarray(ridge.intercept_, dtype=np.float64), (genes,)),
        choices.features_dtype,
        {"alpha": alpha, "components": components.shape[1]},
    )


def _fit_cross_validated(training: Training, choices: Choices, seed: int) -> RidgeProbe:
    curve = _inner_curve(training, choices, seed)
    grid = np.asarray(choices.alpha_grid)
    alpha = float(grid[np.flatnonzero(curve == curve.max())[-1]])
    reduction, components = _fit_reduction(training.features, choices, seed)
    path = ridge_path(components, training.target, fit_intercept=choices.fit_intercept)
    coefficients, intercept = path.coefficients(alpha)
    details = {
        "alpha": alpha,
        "components": components.shape[1],
        "alpha_curve": [float(score) for score in curve],
        "alpha_at_edge": alpha in (grid[0], grid[-1]),
    }
    return RidgeProbe(reduction, coefficients, intercept, choices.features_dtype, details)


def _inner_curve(training: Training, choices: Choices, seed: int) -> Array:
    """(A,) Pearson correlation of each penalty: mean over samples and genes, then inner folds; undefined counts 0."""
    folds = np.unique(training.inner_folds)
    if len(folds) < 2:
        raise ValueError("cross-validation needs at least two inner folds")
    curves = []
    for fold in folds:
        held_out = training.inner_folds == fold
        reduction, components = _fit_reduction(training.features[~held_out], choices, seed)
        path = ridge_path(components, training.target[~held_out], fit_intercept=choices.fit_intercept)
        tested = _reduce(reduction, training.features[held_out], choices.features_dtype)
        curve = []
        for alpha in choices.alpha_grid:
            coefficients, intercept = path.coefficients(alpha)
            prediction = tested @ coefficients + intercept
            scores = pearson_by_group(training.target[held_out], prediction, training.samples[held_out])
            curve.append(np.nan_to_num(scores).mean())
        curves.append(curve)
    return np.mean(curves, axis=0)


def _fit_reduction(features: NDArray[np.floating], choices: Choices, seed: int) -> tuple[Pipeline, Array]:
    """Scaler and PCA fitted on (N, D) features of the protocol's type, and their (N, K) components in float64.

    K <= min(max_components, D, N - 1).
    """
    spots, dimensions = features.shape
    if spots < 2:
        raise ValueError(f"a principal component needs at least two spots, got {spots}")
    kept = min(choices.max_components, dimensions, spots - 1)
    reduction = make_pipeline(StandardScaler(), PCA(n_components=kept, random_state=seed))
    with threadpool_limits(BLAS_THREADS, user_api="blas"):
        components = reduction.fit_transform(features.astype(choices.features_dtype))
    return reduction, components.astype(np.float64)


def _reduce(reduction: Pipeline, features: NDArray[np.floating], dtype: str) -> Array:
    with threadpool_limits(BLAS_THREADS, user_api="blas"):
        return reduction.transform(features.astype(dtype)).astype(np.float64)
