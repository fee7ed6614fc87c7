"""Whether expression goes with place: a covariance test, many genes at once.

After SPARK-X (Zhu, Sun and Zhou 2021, Genome Biology 22, 184): the statistic is the share of a gene's variance that
functions of x and y explain, times the number of spots; without a pattern it is chi-squared with as many degrees of
freedom as there are functions. Eleven pairs of functions are tried (x and y themselves, five Gaussians and five
cosines, of widths that are quantiles of the coordinates), and their P values joined by Cauchy's combination (Liu and
Xie 2020), which holds its level though they depend on each other.
"""

from __future__ import annotations

import numpy as np
import scipy.special
from numpy.typing import NDArray

Array = NDArray[np.float64]

WIDTHS = (0.2, 0.4, 0.6, 0.8, 1.0)
# From here on, in -ln P, Cauchy's combination is the mean of 1 / P to every digit of a float.
TINY = 30.0


def surprise(values: Array, positions: Array) -> Array:
    """(G,) -ln P that each gene's values have no pattern; 0 for a constant gene. A P value may be below any float.

    Parameters
    ----------
    values
        (N, G) of N spots.
    positions
        (N, 2) in whatever unit: P is the same for positions that are shifted, or scaled by one number.
    """
    off = values - values.mean(axis=0)
    spread = np.square(off).sum(axis=0)
    varies = np.ptp(values, axis=0) > 0
    found = []
    for functions in patterns(positions):
        explained = np.square(functions.T @ off).sum(axis=0)
        share = np.divide(explained, spread, out=np.zeros(values.shape[1]), where=varies)
        found.append(_minus_log_p(len(values) * share, functions.shape[1]))
    return np.where(varies, joined(np.array(found)), 0.0)


def patterns(positions: Array) -> list[Array]:
    """Eleven bases (N, D) of what is tried, orthonormal and centred; D is 2, less where spots lie in one line."""
    at = positions - positions.mean(axis=0)
    tried = [at]
    for quantile in WIDTHS:
        width = np.quantile(np.abs(at), quantile, axis=0)
        scaled = at / np.where(width > 0, width, np.inf)
        tried += [np.exp(-(scaled**2) / 2), np.cos(2 * np.pi * scaled)]
    return [_basis(functions) for functions in tried]


def joined(found: Array) -> Array:
    """(G,) -ln of Cauchy's combination of (K, G) P values, given and returned as -ln P."""
    largest = found.max(axis=0)
    with np.errstate(divide="ignore", over="ignore"):
        cotangents = 1 / np.tan(np.pi * np.exp(-np.minimum(found, 2 * TINY)))
    exact: Array = -np.log(np.arctan2(1.0, cotangents.mean(axis=0)) / np.pi)
    far: Array = scipy.special.logsumexp(found, axis=0) - np.log(len(found))
    return np.where(largest > TINY, far, exact)


def _basis(functions: Array) -> Array:
    left, size, _ = np.linalg.svd(functions - functions.mean(axis=0), full_matrices=False)
    return np.asarray(left[:, size > 1e-9 * max(float(size[0]), 1e-300)])


def _minus_log_p(statistic: Array, freedom: int) -> Array:
    """-ln P of chi-squared with 0, 1 or 2 degrees of freedom."""
    if freedom == 2:
        return statistic / 2
    if freedom == 1:
        return np.asarray(-np.log(2) - scipy.special.log_ndtr(-np.sqrt(statistic)))
    return np.zeros_like(statistic)
