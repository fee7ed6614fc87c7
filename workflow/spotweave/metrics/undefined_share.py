"""How many Pearson correlations are undefined: a constant truth or prediction, or a gene that a table lacks.

By gene and group: 1 where undefined, 0 where not. `undefined_share` is the share among all of all folds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spotweave.correlation import pearson_by_group
from spotweave.metrics import Array, Scored
from spotweave.metrics._summary import DECIMALS

COLUMNS = ("undefined_share",)
BEST = {"undefined_share": "low"}


def score(scored: Scored) -> Array:
    """(U, G), 0 or 1."""
    return np.isnan(pearson_by_group(scored.truth, scored.prediction, scored.groups)).astype(np.float64)


def summarise(folds: Sequence[Array]) -> dict[str, float]:
    """Share of all values, so that a fold of many groups weighs more."""
    undefined = sum(values.sum() for values in folds)
    return {"undefined_share": round(float(undefined / sum(values.size for values in folds)), DECIMALS)}
