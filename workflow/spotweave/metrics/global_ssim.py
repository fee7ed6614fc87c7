"""Structural similarity of truth and prediction as one window: the "SSIM" of the benchmark of eleven methods.

Its name says more than it measures: no place of a spot enters it, and shuffling the spots changes nothing. Each side is
cut into 256 levels over its own range; two constants give 1.

By gene and group. `global_ssim_mean` averages over groups, then genes, then folds.
"""

from __future__ import annotations

from collections.abc import Sequence

from spotweave.metrics import Array, Scored
from spotweave.metrics._agreement import by_group, global_ssim
from spotweave.metrics._summary import mean, mean_defined, over_folds

COLUMNS = ("global_ssim_mean",)
BEST = {"global_ssim_mean": "high"}


def score(scored: Scored) -> Array:
    """(U, G), from -1 to 1."""
    return by_group(scored, lambda truth, prediction, counts: global_ssim(truth, prediction))


def summarise(folds: Sequence[Array]) -> dict[str, float]:
    """Mean over folds."""
    return {"global_ssim_mean": mean(over_folds(folds, mean_defined))}
