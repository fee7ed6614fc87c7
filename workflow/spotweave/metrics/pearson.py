"""Pearson correlation of truth and prediction.

By gene and group: over the spots of the group. Undefined where truth or prediction is constant, or the gene is not in
the sample's table.

`pearson_mean` averages over groups, then over the genes that have a value, then over folds; `pearson_std` is the
standard deviation of the folds' means (divided by n). `pearson_mean_zero` counts an undefined correlation as 0: it must
not be better than a bad one, so ranks go by this.
"""

from __future__ import annotations

from collections.abc import Sequence

from spotweave.correlation import pearson_by_group
from spotweave.metrics import Array, Scored
from spotweave.metrics._summary import mean, mean_defined, mean_zero, over_folds, spread

COLUMNS = ("pearson_mean", "pearson_std", "pearson_mean_zero")
BEST = {"pearson_mean": "high", "pearson_mean_zero": "high"}


def score(scored: Scored) -> Array:
    """(U, G), from -1 to 1."""
    return pearson_by_group(scored.truth, scored.prediction, scored.groups)


def summarise(folds: Sequence[Array]) -> dict[str, float]:
    """Means over folds, and the spread of the first."""
    means = over_folds(folds, mean_defined)
    return {
        "pearson_mean": mean(means),
        "pearson_std": spread(means),
        "pearson_mean_zero": mean(over_folds(folds, mean_zero)),
    }
