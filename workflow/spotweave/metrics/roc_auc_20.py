"""Area under the ROC curve of telling spots of more than 20 raw counts of a gene from the others.

The textbook's, beside `auc_20`, which leaves out every gene that is counted in all spots. Undefined where no spot or
every spot has more.

By gene and group. `roc_auc_20_mean` averages over groups, then over the genes that have a value, then over folds.
"""

from __future__ import annotations

from collections.abc import Sequence

from spotweave.metrics import Array, Scored
from spotweave.metrics._agreement import by_group
from spotweave.metrics._summary import mean, mean_defined, over_folds
from spotweave.metrics._textbook import roc_auc

COLUMNS = ("roc_auc_20_mean",)
BEST = {"roc_auc_20_mean": "high"}


def score(scored: Scored) -> Array:
    """(U, G), from 0 to 1."""
    return by_group(scored, lambda truth, prediction, counts: roc_auc(counts, prediction, 20))


def summarise(folds: Sequence[Array]) -> dict[str, float]:
    """Mean over folds."""
    return {"roc_auc_20_mean": mean(over_folds(folds, mean_defined))}
