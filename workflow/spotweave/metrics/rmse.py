"""Root of the mean squared error, on the protocol's scale of expression.

By gene and group: 0 for a perfect prediction. `rmse_mean` averages over groups, then genes, then folds. Scales differ
between protocols, so compare within one.
"""

from __future__ import annotations

from collections.abc import Sequence

from spotweave.metrics import Array, Scored
from spotweave.metrics._agreement import by_group, rmse
from spotweave.metrics._summary import mean, mean_defined, over_folds

COLUMNS = ("rmse_mean",)
BEST = {"rmse_mean": "low"}


def score(scored: Scored) -> Array:
    """(U, G), from 0."""
    return by_group(scored, lambda truth, prediction, counts: rmse(truth, prediction))


def summarise(folds: Sequence[Array]) -> dict[str, float]:
    """Mean over folds."""
    return {"rmse_mean": mean(over_folds(folds, mean_defined))}
