"""Places on a section's array, as networks with a vector for each column and row want them: small whole numbers."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Lattice = Literal["square", "hexagonal"]
# A neighbour lies within so many pitches: those across the diagonal of a square, at 1.41, do not.
NEIGHBOUR_PITCHES = 1.25


def steps_of(positions: Array) -> Array:
    """(N, 2) positions in steps of the array from its upper left spot, not rounded.

    A step is the median distance of a spot from the nearest other; whatever the unit of the positions. Of spots that
    lie in rows with half a step between them the columns are half numbers.
    """
    positions = np.asarray(positions, dtype=np.float64)
    if len(positions) < 2:
        return np.zeros_like(positions)
    from scipy.spatial import KDTree

    nearest = KDTree(positions).query(positions, k=2)[0][:, 1]
    step = float(np.median(nearest[nearest > 0])) if (nearest > 0).any() else 1.0
    found: Array = (positions - positions.min(axis=0)) / step
    return found


def places_of(steps: Array, places: int) -> NDArray[np.int64]:
    """(N, 2) whole numbers from 0 to `places` - 1.

    Rounded; a section of more columns or rows is made to fit, both axes by the same factor, so that neighbours may
    share a number but none lies beyond the table.
    """
    most = float(steps.max(initial=0))
    shrunk = steps * min(1.0, (places - 1) / most) if most > 0 else steps
    return np.rint(shrunk).astype(np.int64)


def lattice_of(positions: Array) -> tuple[Lattice, float] | None:
    """The lattice that (N, 2) spots lie on, and its pitch in their unit; None of fewer than two spots.

    The pitch is the median distance of neighbours: those within `NEIGHBOUR_PITCHES` of what is the median distance of a
    spot from the nearest other, which print errors make too short. A hexagonal lattice is told by a spot with five
    neighbours or more, among the tenth of the spots that have most; a square one gives four.
    """
    from scipy.spatial import KDTree

    if len(positions) < 2:
        return None
    tree = KDTree(positions)
    nearest = float(np.median(tree.query(positions, k=2)[0][:, 1]))
    pairs = tree.query_pairs(NEIGHBOUR_PITCHES * nearest, output_type="ndarray")
    around = np.bincount(pairs.ravel(), minlength=len(positions))
    pitch = float(np.median(np.linalg.norm(positions[pairs[:, 0]] - positions[pairs[:, 1]], axis=1)))
    return "hexagonal" if np.quantile(around, 0.9) >= 5 else "square", pitch
