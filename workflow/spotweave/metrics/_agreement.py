"""How one gene's truth and prediction agree over the spots of a group, as the benchmark of eleven methods computes it.

Definitions are those of its code (Wang, Chan et al. 2025; `benchmarkUtils.R` and the R packages it calls), which differ
from its text and from the textbook in places; each function says where.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from spotweave.metrics import Array, Scored
from spotweave.metrics._textbook import roc_auc

LEAST_BINS = 10
LEVELS = 256
C1, C2 = (0.01 * (LEVELS - 1)) ** 2, (0.03 * (LEVELS - 1)) ** 2
# R widens the outer edges of the range that it cuts by this share of it.
WIDER = 0.001


def by_group(scored: Scored, value_of: Callable[[Array, Array, Array], float]) -> Array:
    """(U, G) a value of each group and gene, NaN where the gene is not in the table of a sample of the group.

    Parameters
    ----------
    value_of
        Takes truth, prediction and raw counts of one gene over the spots of a group.
    """
    groups = np.unique(scored.groups)
    found = np.full((len(groups), scored.truth.shape[1]), np.nan)
    for number, group in enumerate(groups):
        spots = scored.groups == group
        views = [values[spots] for values in (scored.truth, scored.prediction, scored.counts)]
        for gene in np.flatnonzero(~np.isnan(views[0]).any(axis=0)):
            found[number, gene] = value_of(*(values[:, gene] for values in views))
    return found


def equal_frequency_bins(values: Array) -> NDArray[np.int64]:
    """(N,) bin of each value, from 0: infotheo's equal frequencies, which are not quantiles.

    max(10, n^(1/3)) bins of n div k values each; the first n mod k edges are one value further on, and the last bin
    takes what is left. Of equal values all are in the first bin whose edge reaches them.
    """
    count = len(values)
    bins = int(max(LEAST_BINS, count ** (1 / 3)))
    each, more = divmod(count, bins)
    at = np.arange(1, bins) * each - 1 + (np.arange(bins - 1) < more)
    edges = np.sort(values)[np.clip(at, 0, count - 1)]
    # The first edge that is not below a value: edges ascend, so that a search finds it.
    return np.searchsorted(np.maximum.accumulate(edges), values, side="left")


def mutual_information(truth: Array, prediction: Array) -> float:
    """Mutual information of two binned vectors by the geometric mean of their entropies, 0 to 1.

    NaN where one of them falls into a single bin.
    """
    one, other = equal_frequency_bins(truth), equal_frequency_bins(prediction)
    if min(len(np.unique(one)), len(np.unique(other))) < 2:
        return float("nan")
    table = np.zeros((one.max() + 1, other.max() + 1))
    np.add.at(table, (one, other), 1)
    table /= len(one)
    entropies = [_entropy(table.sum(axis=1)), _entropy(table.sum(axis=0))]
    return float((sum(entropies) - _entropy(table.ravel())) / np.sqrt(entropies[0] * entropies[1]))


def js_divergence(truth: Array, prediction: Array) -> float:
    """Jensen and Shannon's divergence of two vectors as shares of their sums, base 2, 0 to 1, not rooted.

    A prediction below 0 counts as 0; a vector that sums to 0 counts as the same everywhere. Truth is not cut at 0: one
    of both signs gives NaN.
    """
    shares = [_shares(truth), _shares(np.maximum(prediction, 0))]
    middle = (shares[0] + shares[1]) / 2
    total = 0.0
    for share in shares:
        some = share != 0
        with np.errstate(invalid="ignore", divide="ignore"):
            total += float((share[some] * np.log2(share[some] / middle[some])).sum())
    return total / 2


def rmse(truth: Array, prediction: Array) -> float:
    """Root of the mean squared error."""
    return float(np.sqrt(((truth - prediction) ** 2).mean()))


def global_ssim(truth: Array, prediction: Array) -> float:
    """Structural similarity of two vectors as one window: no place of a spot enters it.

    Each is divided by its maximum and cut into 256 levels over its own range; a maximum below 0 reverses the order, one
    of exactly 0 makes all values 0. A constant vector is at the middle level, so two constants give 1.
    """
    one, other = _levels(truth), _levels(prediction)
    means = one.mean(), other.mean()
    spread = np.cov(one, other) if len(one) > 1 else np.zeros((2, 2))
    above = (2 * means[0] * means[1] + C1) * (2 * spread[0, 1] + C2)
    below = (means[0] ** 2 + means[1] ** 2 + C1) * (spread[0, 0] + spread[1, 1] + C2)
    return float(above / below)


def auc(counts: Array, prediction: Array, threshold: float) -> float:
    """Area under the curve of telling spots of more than `threshold` raw counts from the others; ties count half.

    NaN where a gene is counted in every spot or in none, whatever the threshold, and where no spot or every spot has
    more.
    """
    if len(np.unique(counts > 0)) < 2:
        return float("nan")
    return roc_auc(counts, prediction, threshold)


def _entropy(shares: Array) -> float:
    some = shares[shares > 0]
    return float(-(some * np.log(some)).sum()) + 0.0


def _shares(values: Array) -> Array:
    total = values.sum()
    return values / total if total != 0 else np.full(len(values), 1 / len(values))


def _levels(values: Array) -> Array:
    most = values.max()
    scaled = np.zeros_like(values) if most == 0 else values / most
    low, high = scaled.min(), scaled.max()
    if low == high:
        return np.full(len(values), float((LEVELS - 1) // 2))
    edges = np.linspace(low, high, LEVELS + 1)
    edges[0], edges[-1] = low - WIDER * (high - low), high + WIDER * (high - low)
    # Right-closed: a value on an edge belongs to the level below it.
    found: Array = np.searchsorted(edges[1:-1], scaled, side="left").astype(np.float64)
    return found
