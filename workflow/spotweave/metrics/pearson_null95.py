"""What chance scores: the 95th percentile of the mean Pearson correlation when predictions are dealt to other spots.

One value a fold. The spots of each sample are permuted, all genes of a spot together, so genes stay as correlated as
they are. Where samples are pooled, the differences between them stay in the null: they are what pooling rewards. The
mean counts undefined correlations as 0, as `pearson_mean_zero` does, the number that ranks go by: a score below the
null is no better than chance. `pearson_null95` is the mean over folds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spotweave.correlation import standardised
from spotweave.metrics import Array, Scored
from spotweave.metrics._summary import mean, mean_zero, over_folds

COLUMNS = ("pearson_null95",)
PERCENTILE = 95


def score(scored: Scored) -> Array:
    """One value, from -1 to 1."""
    return np.asarray(np.percentile(null_means(scored), PERCENTILE))


def summarise(folds: Sequence[Array]) -> dict[str, float]:
    """Mean over folds."""
    return {"pearson_null95": mean(over_folds(folds, float))}


def null_means(scored: Scored) -> Array:
    """(permutations,) mean over groups and genes of each permutation, an undefined correlation counting as 0."""
    random = np.random.default_rng(scored.seed)
    order = np.argsort(scored.samples, kind="stable")
    starts = np.flatnonzero(np.diff(scored.samples[order], prepend=scored.samples[order][0] - 1))
    spots_by_sample = np.split(order, starts[1:])
    members = [np.flatnonzero(scored.groups == group) for group in np.unique(scored.groups)]
    left, right = np.empty_like(scored.truth), np.empty_like(scored.prediction)
    for spots in members:
        left[spots], right[spots] = standardised(scored.truth[spots]), standardised(scored.prediction[spots])
    means = np.empty(scored.permutations)
    shuffled = np.empty(len(scored.truth), dtype=np.int64)
    for number in range(scored.permutations):
        for spots in spots_by_sample:
            shuffled[spots] = random.permutation(spots)
        products = left * right[shuffled]
        means[number] = mean_zero(np.stack([products[spots].sum(axis=0) for spots in members]))
    return means
