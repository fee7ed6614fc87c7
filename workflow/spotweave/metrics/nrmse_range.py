"""Root of the mean squared error by the range of the truth.

As the benchmark of eleven methods computes it. Undefined where the truth is constant; scales of expression cancel only
between linear ones.

By gene and group. `nrmse_range_mean` averages over groups, then over the genes that have a value, then over folds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spotweave.metrics import Array, Scored
from spotweave.metrics._agreement import by_group, rmse
from spotweave.metrics._summary import mean, mean_defined, over_folds

COLUMNS = ("nrmse_range_mean",)
BEST = {"nrmse_range_mean": "low"}


def score(scored: Scored) -> Array:
    """(U, G), from 0."""
    return by_group(scored, _value)


def summarise(folds: Sequence[Array]) -> dict[str, float]:
    """Mean over folds."""
    return {"nrmse_range_mean": mean(over_folds(folds, mean_defined))}


def _value(truth: Array, prediction: Array, counts: Array) -> float:
    if np.ptp(truth) == 0:
        return float("nan")
    return rmse(truth, prediction) / float(np.ptp(truth))
