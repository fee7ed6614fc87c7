"""The niche of a spot: itself and its nearest spots in the same sample."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.spatial
from numpy.typing import NDArray


def neighbours_of(positions_px: NDArray[np.float64], groups: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """(N, count + 1) numbers of each spot and its nearest, itself first.

    A sample of fewer spots repeats what it has. Ties of distance go to the lower number.

    Parameters
    ----------
    positions_px
        (N, 2), each on the slide of its sample.
    groups
        (N,) the sample of each spot.
    """
    found = np.empty((len(groups), count + 1), np.int64)
    for group in np.unique(groups):
        own = np.flatnonzero(groups == group)
        places = positions_px[own]
        # More than asked for, so that ties at the last place are seen.
        wanted = min(len(own), count + 1 + 6)
        distances, near = scipy.spatial.KDTree(places).query(places, k=wanted)
        distances, near = distances.reshape(len(own), wanted), near.reshape(len(own), wanted)
        itself = near != np.arange(len(own))[:, None]
        order = np.lexsort((near, np.round(distances, 6), itself), axis=1)
        near = np.take_along_axis(near, order, axis=1)
        found[own] = own[near[:, np.arange(count + 1) % wanted]]
    return found


def niche_rows(values: Any, neighbours: NDArray[np.int64]) -> NDArray[np.float32]:
    """(B, G) mean of the rows of each niche (B, K), of an array or of rows on a disk."""
    unique, places = np.unique(neighbours, return_inverse=True)
    read: NDArray[np.float32] = values[unique]
    mean: NDArray[np.float32] = read[places.reshape(neighbours.shape)].mean(axis=1, dtype=np.float32)
    return mean
