"""Ranks in which ties share the mean of theirs, and the correlation of ranks.

As `scipy.stats` has both, whose import costs more CPU than most jobs that rank something.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def mean_ranks(values: NDArray[Any]) -> NDArray[np.float64]:
    """(N,) ranks from 1 of (N,) numbers; all NaN where one of them is."""
    if np.issubdtype(values.dtype, np.floating) and np.isnan(values).any():
        return np.full(values.shape, np.nan)
    _, group, size = np.unique(values, return_inverse=True, return_counts=True)
    last: NDArray[np.float64] = np.cumsum(size) - (size - 1) / 2
    return last[group]


def spearman(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Rank correlation of two vectors (N,), neither of them constant (Spearman's rho: Pearson's of the ranks)."""
    ranks = np.column_stack([mean_ranks(first), mean_ranks(second)])
    correlation: NDArray[np.float64] = np.asarray(np.corrcoef(ranks, rowvar=False))
    return float(correlation[1, 0])
