"""Mutual information of truth and prediction, by the geometric mean of their entropies, in bins of equal frequency.

As the benchmark of eleven methods computes it (infotheo's bins, about ten). Undefined where either falls into one bin.

By gene and group. `mutual_information_mean` averages over groups, then over the genes that have a value, then over
folds.
"""

from __future__ import annotations

from collections.abc import Sequence

from spotweave.metrics import Array, Scored
from spotweave.metrics._agreement import by_group, mutual_information
from spotweave.metrics._summary import mean, mean_defined, over_folds

COLUMNS = ("mutual_information_mean",)
BEST = {"mutual_information_mean": "high"}


def score(scored: Scored) -> Array:
    """(U, G), from 0 to 1."""
    return by_group(scored, lambda truth, prediction, counts: mutual_information(truth, prediction))


def summarise(folds: Sequence[Array]) -> dict[str, float]:
    """Mean over folds."""
    return {"mutual_information_mean": mean(over_folds(folds, mean_defined))}
