"""Spearman's rank correlation of truth and prediction: Pearson's of their ranks, ties sharing the mean of theirs.

By gene and group. Undefined where Pearson's is. `spearman_mean` averages over groups, then over the genes that have a
value, then over folds; `spearman_mean_zero` counts an undefined correlation as 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spotweave.correlation import pearson_by_group, standardised
from spotweave.metrics import Array, Scored
from spotweave.metrics._summary import mean, mean_defined, mean_zero, over_folds
from spotweave.ranks import mean_ranks

COLUMNS = ("spearman_mean", "spearman_mean_zero")
BEST = {"spearman_mean": "high", "spearman_mean_zero": "high"}


def score(scored: Scored) -> Array:
    """(U, G), from -1 to 1."""
    truth, prediction = np.empty_like(scored.truth), np.empty_like(scored.prediction)
    for group in np.unique(scored.groups):
        spots = scored.groups == group
        truth[spots], prediction[spots] = _ranks(scored.truth[spots]), _ranks(scored.prediction[spots])
    return pearson_by_group(truth, prediction, scored.groups)


def summarise(folds: Sequence[Array]) -> dict[str, float]:
    """Means over folds."""
    return {
        "spearman_mean": mean(over_folds(folds, mean_defined)),
        "spearman_mean_zero": mean(over_folds(folds, mean_zero)),
    }


def _ranks(values: Array) -> Array:
    """(N, G) ranks; NaN where a column is constant but for rounding, which would be ranked like anything else."""
    constant: NDArray[np.bool_] = np.atleast_1d(np.isnan(standardised(values)).all(axis=0))
    ranks = np.empty(values.shape)
    for gene, column in enumerate(values.T):
        ranks[:, gene] = np.nan if constant[gene] else mean_ranks(column)
    return ranks
