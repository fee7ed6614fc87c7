"""Jensen and Shannon's divergence of truth and prediction as shares of their sums over the spots, base 2.

As the benchmark of eleven methods computes it: predictions below 0 count as 0, and a collapsed prediction gets the
distance from the same everywhere, which can be small.

By gene and group. `js_divergence_mean` averages over groups, then over the genes that have a value, then over folds.
"""

from __future__ import annotations

from collections.abc import Sequence

from spotweave.metrics import Array, Scored
from spotweave.metrics._agreement import by_group, js_divergence
from spotweave.metrics._summary import mean, mean_defined, over_folds

COLUMNS = ("js_divergence_mean",)
BEST = {"js_divergence_mean": "low"}


def score(scored: Scored) -> Array:
    """(U, G), from 0 to 1."""
    return by_group(scored, lambda truth, prediction, counts: js_divergence(truth, prediction))


def summarise(folds: Sequence[Array]) -> dict[str, float]:
    """Mean over folds."""
    return {"js_divergence_mean": mean(over_folds(folds, mean_defined))}
