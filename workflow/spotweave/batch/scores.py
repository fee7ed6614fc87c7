"""How far groups of spots lie apart: the same numbers for batches, which should not, and for biology, which should.

Each is a mean over all spots; of `values`, (N, D) float64, Euclidean distances between rows count; `labels` are (N,)
names of two groups or more.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2
from sklearn.metrics import silhouette_score
from sklearn.neighbors import NearestNeighbors

PERPLEXITY = 30.0  # of the neighbourhoods of LISI, as published
ALPHA = 0.05  # level of kBET's tests, as published
KBET_NEIGHBOURS_MIN = 10
KEPT_NEIGHBOURS = 15
BISECTIONS, ENTROPY_TOLERANCE = 50, 1e-5

Array = NDArray[np.float64]
Texts = NDArray[np.str_]


def silhouette(values: Array, labels: Texts) -> float:
    """Mean silhouette (Rousseeuw 1987), -1 to 1: 1 for groups far apart, about 0 for groups that are mixed."""
    return float(silhouette_score(values, labels))


def lisi(values: Array, labels: Texts) -> float:
    """Mean local inverse Simpson's index (Korsunsky et al. 2019): how many groups there are around a spot.

    1 for groups apart, and for groups that are mixed the inverse of the sum of their squared shares (their number, if
    they are of one size). A spot's neighbours are weighted by exp(-beta d), d the distance and beta such that the
    perplexity is 30; there are three times as many, the spot itself among them and without weight. Of fewer than 90
    spots all are neighbours, and the perplexity is a third of their number.
    """
    neighbours = min(int(3 * PERPLEXITY), len(values))
    distances, rows = NearestNeighbors(n_neighbors=neighbours).fit(values).kneighbors(values)
    weights = perplexity_weights(distances[:, 1:], min(PERPLEXITY, neighbours / 3))
    codes = np.unique(labels, return_inverse=True)[1]
    around = np.stack([(weights * (codes[rows[:, 1:]] == group)).sum(axis=1) for group in np.unique(codes)])
    return float((1 / np.square(around).sum(axis=0)).mean())


def neighbours_kept(before: Array, after: Array, labels: Texts) -> float:
    """Mean share of a spot's 15 nearest in its own group that are among its 15 nearest there afterwards too, 0 to 1.

    What a correction leaves of the structure within batches, by (N, D) and (N, E) values before and after it, where no
    label of biology is known. 1 for groups moved as a whole; of n spots in no order, 15 / (n - 1). In a group of fewer
    than 30 spots half of them are looked at.
    """
    shares = np.zeros(len(labels))
    for group in np.unique(labels):
        own = np.flatnonzero(labels == group)
        k = min(KEPT_NEIGHBOURS, max(1, len(own) // 2))
        near = [NearestNeighbors(n_neighbors=k).fit(one[own]).kneighbors_graph() for one in (before, after)]
        shares[own] = np.asarray(near[0].multiply(near[1]).sum(axis=1)).ravel() / k
    return float(shares.mean())


def perplexity_weights(distances: Array, perplexity: float) -> Array:
    """(N, k) weights proportional to exp(-beta d), rows of sum 1 and entropy ln(perplexity); by bisection of beta."""
    beta, low, high = np.ones(len(distances)), np.zeros(len(distances)), np.full(len(distances), np.inf)
    off = distances - distances.min(axis=1, keepdims=True)  # the same weights, and none of them all 0
    for _ in range(BISECTIONS):
        raw = np.exp(-off * beta[:, None])
        total = raw.sum(axis=1)
        surplus = np.log(total) + beta * (off * raw).sum(axis=1) / total - np.log(perplexity)
        if (np.abs(surplus) < ENTROPY_TOLERANCE).all():
            break
        wide = surplus > 0
        low, high = np.where(wide, beta, low), np.where(wide, high, beta)
        beta = np.where(np.isinf(high), beta * 2, (low + high) / 2)
    weights: Array = raw / total[:, None]
    return weights


def kbet_rejection(values: Array, labels: Texts) -> float:
    """Share of spots around which the groups have other shares than among all spots: kBET (Buettner et al. 2019).

    Groups apart: 1; mixed: 0.05, the level of its tests (`kbet_statistics`).
    """
    groups = len(np.unique(labels))
    return float((kbet_statistics(values, labels) > chi2.isf(ALPHA, groups - 1)).mean())


def kbet_statistics(values: Array, labels: Texts) -> Array:
    """(N,) Pearson's chi-square of the groups of a spot's k nearest against their shares among all other spots.

    k is a quarter of the mean group, 10 at least, as published. The statistic is divided by (M - k) / (M - 1), M the
    number of other spots: neighbours are drawn without replacement, and mixed groups would be rejected too seldom else.
    """
    codes, sizes = np.unique(labels, return_inverse=True, return_counts=True)[1:]
    others = len(values) - 1
    k = min(max(KBET_NEIGHBOURS_MIN, int(len(values) / len(sizes) / 4)), others - 1)
    rows = NearestNeighbors(n_neighbors=k).fit(values).kneighbors(return_distance=False)
    observed = np.stack([(codes[rows] == group).sum(axis=1) for group in range(len(sizes))], axis=1)
    expected = k * (sizes - np.eye(len(sizes))[codes]) / others
    off = np.divide((observed - expected) ** 2, expected, out=np.zeros(expected.shape), where=expected > 0)
    found: Array = off.sum(axis=1) * (others - 1) / (others - k)
    return found
