"""Mutual information of truth and prediction over the spots, in nats, in bins cut at quantiles.

The textbook's, beside `mutual_information`, which cuts other bins and divides by the geometric mean of the entropies.
Of few spots it is above 0 by chance: by about (bins - 1)^2 / (2 spots). Undefined where one of both is constant.

By gene and group. `mutual_information_nats_mean` averages over groups, then over the genes that have a value, then over
folds.
"""

from __future__ import annotations

from collections.abc import Sequence

from spotweave.metrics import Array, Scored
from spotweave.metrics._agreement import by_group
from spotweave.metrics._summary import mean, mean_defined, over_folds
from spotweave.metrics._textbook import mutual_information_nats

COLUMNS = ("mutual_information_nats_mean",)
BEST = {"mutual_information_nats_mean": "high"}


def score(scored: Scored) -> Array:
    """(U, G), 0 or more."""
    return by_group(scored, lambda truth, prediction, counts: mutual_information_nats(truth, prediction))


def summarise(folds: Sequence[Array]) -> dict[str, float]:
    """Mean over folds."""
    return {"mutual_information_nats_mean": mean(over_folds(folds, mean_defined))}
