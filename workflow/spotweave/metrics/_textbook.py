"""How one gene's truth and prediction agree, as textbooks define it: where the benchmark of eleven methods differs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from spotweave.metrics import Array
from spotweave.ranks import mean_ranks

if TYPE_CHECKING:
    from scipy import sparse

LEAST_BINS = 10


def quantile_bins(values: Array) -> NDArray[np.int64]:
    """(N,) bin of each value, from 0: as many of equal frequency as the benchmark takes, cut at quantiles.

    max(10, n^(1/3)) bins; equal values share one, so ties leave fewer.
    """
    bins = int(max(LEAST_BINS, round(len(values) ** (1 / 3), 9)))
    edges = np.unique(np.quantile(values, np.arange(1, bins) / bins))
    return np.searchsorted(edges, values, side="left")


def mutual_information_nats(truth: Array, prediction: Array) -> float:
    """Mutual information of two binned vectors, in nats (Cover & Thomas 2006, 2.28), by their observed frequencies.

    NaN where one of both is constant.
    """
    if np.ptp(truth) == 0 or np.ptp(prediction) == 0:
        return float("nan")
    one, other = quantile_bins(truth), quantile_bins(prediction)
    table = np.zeros((one.max() + 1, other.max() + 1))
    np.add.at(table, (one, other), 1 / len(one))
    alone = table.sum(axis=1, keepdims=True) * table.sum(axis=0)
    some = table > 0
    return float((table[some] * np.log(table[some] / alone[some])).sum()) + 0.0


def js_distance(truth: Array, prediction: Array) -> float:
    """Root of Jensen and Shannon's divergence, base 2 (Endres & Schindelin 2003): a metric, 0 to 1.

    Below 0 counts as 0 on both sides. NaN where a side is 0 everywhere: that is no distribution.
    """
    sides = [np.maximum(values, 0) for values in (truth, prediction)]
    if not all(side.any() for side in sides):
        return float("nan")
    shares = [side / side.sum() for side in sides]
    middle = (shares[0] + shares[1]) / 2
    total = sum(float((own[own > 0] * np.log2(own[own > 0] / middle[own > 0])).sum()) for own in shares)
    return float(np.sqrt(max(total, 0) / 2))


def roc_auc(counts: Array, prediction: Array, threshold: float) -> float:
    """Area under the curve of telling spots of more than `threshold` raw counts from the others; ties count half.

    NaN only where no spot or every spot has more.
    """
    above = counts > threshold
    positive, negative = int(above.sum()), int((~above).sum())
    if not positive or not negative:
        return float("nan")
    ranks = mean_ranks(prediction)
    return float((ranks[above].sum() - positive * (positive + 1) / 2) / (positive * negative))


def spatial_ssim(truth: Array, prediction: Array, windows: sparse.csr_array) -> Array:
    """Structural similarity of pictures whose pixels are spots (Wang et al. 2004), by gene.

    Parameters
    ----------
    truth, prediction
        (N, G).
    windows
        (N, N) weights of the spots in the window around each; rows sum to 1.

    Returns
    -------
    similarity
        (G,) mean over spots, -1 to 1. The constants are .01 and .03 of the range of the truth, squared; NaN where the
        truth is constant.
    """
    span = np.ptp(truth, axis=0)
    one, other = (0.01 * span) ** 2, (0.03 * span) ** 2
    means = windows @ truth, windows @ prediction
    spread = [windows @ values**2 - mean**2 for values, mean in zip((truth, prediction), means, strict=True)]
    together = windows @ (truth * prediction) - means[0] * means[1]
    above = (2 * means[0] * means[1] + one) * (2 * together + other)
    below = (means[0] ** 2 + means[1] ** 2 + one) * (spread[0] + spread[1] + other)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Array = np.where(span > 0, (above / below).mean(axis=0), np.nan)
    return found
