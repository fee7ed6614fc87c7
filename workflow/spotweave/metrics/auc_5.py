"""How well predictions tell spots with more than 5 raw counts of a gene from the others: area under the curve, ties
counting half.

As the benchmark of eleven methods computes it: undefined for a gene that is counted in every spot or in none, whatever
the threshold, and where no spot or every spot has more.

By gene and group. `auc_5_mean` averages over groups, then over the genes that have a value, then over folds.
"""

from __future__ import annotations

from collections.abc import Sequence

from spotweave.metrics import Array, Scored
from spotweave.metrics._agreement import auc, by_group
from spotweave.metrics._summary import mean, mean_defined, over_folds

COLUMNS = ("auc_5_mean",)
BEST = {"auc_5_mean": "high"}


def score(scored: Scored) -> Array:
    """(U, G), from 0 to 1."""
    return by_group(scored, lambda truth, prediction, counts: auc(counts, prediction, 5))


def summarise(folds: Sequence[Array]) -> dict[str, float]:
    """Mean over folds."""
    return {"auc_5_mean": mean(over_folds(folds, mean_defined))}
