"""Jensen and Shannon's distance of truth and prediction as shares of their sums over the spots, base 2.

The textbook's, beside `js_divergence`, which is not rooted, does not cut the truth at 0, and takes a side that is 0
everywhere for one that is the same everywhere. Undefined where a side has nothing above 0.

By gene and group. `js_distance_mean` averages over groups, then over the genes that have a value, then over folds.
"""

from __future__ import annotations

from collections.abc import Sequence

from spotweave.metrics import Array, Scored
from spotweave.metrics._agreement import by_group
from spotweave.metrics._summary import mean, mean_defined, over_folds
from spotweave.metrics._textbook import js_distance

COLUMNS = ("js_distance_mean",)
BEST = {"js_distance_mean": "low"}


def score(scored: Scored) -> Array:
    """(U, G), from 0 to 1."""
    return by_group(scored, lambda truth, prediction, counts: js_distance(truth, prediction))


def summarise(folds: Sequence[Array]) -> dict[str, float]:
    """Mean over folds."""
    return {"js_distance_mean": mean(over_folds(folds, mean_defined))}
