"""Standardised features on their leading principal components, and the ridge of every penalty on these.

The components of training spots are orthogonal, so the ridge that follows them is diagonal: with standardised features
Z (N x D), their leading right singular vectors V, singular values s and centred target Y, the prediction from z is
z V diag(1 / (s^2 + alpha)) V^T Z^T Y (Hastie, Tibshirani & Friedman, The Elements of Statistical Learning, 2nd edition,
eq. 3.47). V and s^2 are eigenvectors and eigenvalues of Z^T Z, or follow from those of Z Z^T where that is smaller.

Squaring Z costs half the digits of what is small beside the largest: an eigenvector is known to about
2e-16 largest / (its distance from the next). Where that is not `RESOLVED`, Z itself is decomposed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spotweave.probes.ridge.scatter import Scatter

Array = NDArray[np.float64]
Features = NDArray[np.floating]

EPSILON = float(np.finfo(np.float64).eps)
# As shares of the largest eigenvalue: the least one kept, which may make a prediction by itself, and its distance
# from the first that is not, which mixes two of many components.
RESOLVED, RESOLVED_GAP = 1e-6, 1e-8
# From this size on, a third of the eigenvectors by scipy cost less than all by numpy, and its import is soon paid for.
LARGE, FEW = 1000, 3


@dataclass(frozen=True)
class Principal:
    """Training spots on K components.

    Attributes
    ----------
    features_mean, target_mean
        (D,) and (G,).
    basis
        (D, K) from centred features, not yet scaled, to components.
    eigenvalues
        (K,) sums of squares of the training spots' components.
    projected
        (K, G) sums over training spots of components times centred target.
    """

    features_mean: Array
    target_mean: Array
    basis: Array
    eigenvalues: Array
    projected: Array

    def components(self, features: Features) -> Array:
        """(N, D) features -> (N, K)."""
        centred = features.astype(np.float64)
        centred -= self.features_mean
        return centred @ self.basis

    def weights(self, alphas: Array) -> Array:
        """(K, A, G): from components to centred target, for each of A penalties > 0."""
        return self.projected[:, None, :] / (self.eigenvalues[:, None] + alphas)[:, :, None]


def fixed_alpha(components: int, genes: int) -> float:
    """HEST-Benchmark's penalty, 100 / (components x genes): 0.0078125 for 256 and 50."""
    return 100 / (components * genes)


def kept_components(most: int, spots: int, dimensions: int) -> int:
    """min(most, dimensions, spots - 1); fewer than two spots raise ValueError."""
    if spots < 2:
        raise ValueError(f"a principal component needs at least two spots, got {spots}")
    return min(most, dimensions, spots - 1)


def of_scatter(scatter: Scatter, kept: int) -> Principal | None:
    """By the D x D covariance; None where it does not resolve the components."""
    deviation = _deviation(scatter.features_mean, np.diagonal(scatter.within) / scatter.spots, scatter.spots)
    scale = deviation[varying := np.isfinite(deviation)]
    within, cross = scatter.within, scatter.cross
    if not varying.all():
        within, cross = within[np.ix_(varying, varying)], cross[varying]
    found = _leading(within / scale / scale[:, None], min(kept, len(scale)))
    if found is None:
        return None
    eigenvalues, vectors = found
    basis = _spread(vectors / scale[:, None], varying)
    return Principal(scatter.features_mean, scatter.target_mean, basis, eigenvalues, basis[varying].T @ cross)


def of_spots(features: Features, target: Array, kept: int) -> Principal:
    """By the spots themselves: by the N x N products of (N, D) features with D > N, or by their singular values."""
    centred = features.astype(np.float64)
    features_mean, target_mean = centred.mean(axis=0), target.mean(axis=0)
    centred -= features_mean
    deviation = _deviation(features_mean, np.einsum("nd,nd->d", centred, centred) / len(centred), len(centred))
    scale = deviation[varying := np.isfinite(deviation)]
    standard = centred[:, varying] / scale
    found = _by_products(standard, kept) if len(standard) <= len(scale) else None
    eigenvalues, vectors = found or _by_singular_values(standard, kept)
    projected = vectors.T @ (standard.T @ (target - target_mean))
    return Principal(features_mean, target_mean, _spread(vectors / scale[:, None], varying), eigenvalues, projected)


def _deviation(mean: Array, variance: Array, spots: int) -> Array:
    """(D,) standard deviations; infinite for a feature that is constant but for rounding (as scikit-learn has it)."""
    constant = variance <= spots * EPSILON * variance + (spots * mean * EPSILON) ** 2
    return np.sqrt(np.where(constant, np.inf, variance))


def _spread(rows: Array, varying: NDArray[np.bool_]) -> Array:
    """(D, K) with the rows where a feature varies, and zeros elsewhere."""
    spread = np.zeros((len(varying), rows.shape[1]))
    spread[varying] = rows
    return spread


def _leading(products: Array, kept: int) -> tuple[Array, Array] | None:
    """(K,) largest eigenvalues, descending, and (M, K) eigenvectors of (M, M); None where they are not resolved."""
    size = len(products)
    if size >= LARGE and size > FEW * kept:
        from scipy.linalg import eigh

        eigenvalues, vectors = eigh(products, subset_by_index=[size - kept - 1, size - 1], check_finite=False)
    else:
        eigenvalues, vectors = np.linalg.eigh(products)
    eigenvalues, vectors = eigenvalues[::-1], vectors[:, ::-1]
    largest, least = eigenvalues[:1], eigenvalues[kept - 1 : kept]
    gap = least - eigenvalues[kept : kept + 1]
    if (least < RESOLVED * largest).any() or (gap < RESOLVED_GAP * largest).any():
        return None
    return eigenvalues[:kept], vectors[:, :kept]


def _by_products(standard: Array, kept: int) -> tuple[Array, Array] | None:
    found = _leading(standard @ standard.T, kept)
    if found is None:
        return None
    eigenvalues, left = found
    return eigenvalues, standard.T @ (left / np.sqrt(eigenvalues))


def _by_singular_values(standard: Array, kept: int) -> tuple[Array, Array]:
    """Eigenvalues and (D, K) vectors; directions without any spread are left out, so K may be less than `kept`."""
    wide = standard if len(standard) <= standard.shape[1] else np.linalg.qr(standard, mode="r")
    _, singular, right = np.linalg.svd(wide, full_matrices=False)
    spread = singular[:kept] > max(standard.shape) * EPSILON * singular[:1]
    return singular[:kept][spread] ** 2, right[:kept][spread].T
