"""Coefficient of determination: 1 - sum of squared errors / sum of squared deviations of the truth from its mean.

By gene and group: 1 for a perfect prediction, 0 for the group's own mean, below 0 for worse. Undefined where the truth
is constant or the gene is not in the sample's table. `r2_mean` averages over groups, then genes, then folds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spotweave.correlation import standardised
from spotweave.metrics import Array, Scored
from spotweave.metrics._summary import mean, mean_defined, over_folds

COLUMNS = ("r2_mean",)
BEST = {"r2_mean": "high"}


def score(scored: Scored) -> Array:
    """(U, G), at most 1."""
    return np.stack([_r2(scored, scored.groups == group) for group in np.unique(scored.groups)])


def summarise(folds: Sequence[Array]) -> dict[str, float]:
    """Mean over folds."""
    return {"r2_mean": mean(over_folds(folds, mean_defined))}


def _r2(scored: Scored, spots: np.ndarray) -> Array:
    truth = scored.truth[spots]
    errors = ((truth - scored.prediction[spots]) ** 2).sum(axis=0)
    deviations = ((truth - truth.mean(axis=0)) ** 2).sum(axis=0)
    constant = np.isnan(standardised(truth)).all(axis=0)
    return 1 - errors / np.where(constant, np.nan, deviations)
