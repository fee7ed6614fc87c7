"""Mean squared error of the prediction, on the protocol's scale of expression.

By gene and group: 0 for a perfect prediction. Undefined where the gene is not in the sample's table. `mse_mean`
averages over groups, then genes, then folds. Scales differ between protocols, so compare within one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spotweave.metrics import Array, Scored
from spotweave.metrics._summary import mean, mean_defined, over_folds

COLUMNS = ("mse_mean",)
BEST = {"mse_mean": "low"}


def score(scored: Scored) -> Array:
    """(U, G), from 0."""
    errors = (scored.truth - scored.prediction) ** 2
    return np.stack([errors[scored.groups == group].mean(axis=0) for group in np.unique(scored.groups)])


def summarise(folds: Sequence[Array]) -> dict[str, float]:
    """Mean over folds."""
    return {"mse_mean": mean(over_folds(folds, mean_defined))}
