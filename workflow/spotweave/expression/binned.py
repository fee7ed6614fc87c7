"""Counts of a spot in as many bins as a model of single cells was trained with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def binned(counts: NDArray[np.floating], bins: int) -> NDArray[np.int64]:
    """Bins (n,) from 1 to `bins` - 1 of the counts (n,) above 0 of one spot, by quantiles of these (scGPT).

    Many counts are equal, and so are then several edges: scGPT draws one of the bins between them, here it is the
    middle one, so that a spot has the same bins every time.
    """
    if not len(counts):
        return np.zeros(0, np.int64)
    edges = np.quantile(counts, np.linspace(0, 1, bins - 1))
    above = np.searchsorted(edges, counts, side="right") + np.searchsorted(edges, counts, side="left")
    found: NDArray[np.int64] = np.ceil(above / 2).astype(np.int64)
    return found
