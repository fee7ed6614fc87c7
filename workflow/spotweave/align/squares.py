"""Bins and cells summed into squares, so that millions of them can be held against a picture at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spotweave.geometry import Points

FILLED_FROM = 0.5  # share of a square's area that bins in tissue must cover


@dataclass(frozen=True)
class Squares:
    """Squares that hold a unit: `array` (N, 2) int64 column and row; `in_tissue` (N,) bool; `counts` (N,) float64.

    Counts are NaN where no unit in tissue has any.
    """

    array: NDArray[np.int64]
    in_tissue: NDArray[np.bool_]
    counts: NDArray[np.float64]


def square_up(
    um: Points, in_tissue: NDArray[np.bool_], counts: NDArray[np.float64], side_um: float, *, by_area: bool
) -> Squares:
    """Sum units at (N, 2) um into squares of `side_um`, square (0, 0) with its corner at the origin.

    Parameters
    ----------
    in_tissue, counts
        (N,) of the units; counts NaN where they are not known.
    by_area
        Units tile the plane (bins): a square is in tissue where half of the most that any square has are, and its
        counts are their mean, as at the edge of a tissue it has fewer. Else (cells) it is where any unit is, and its
        counts are their sum, as darkness goes with how many cells there are.
    """
    known = np.isfinite(um).all(axis=1)
    place = np.floor(um[known] / side_um).astype(np.int64)
    low = place.min(axis=0, initial=np.iinfo(np.int64).max) if len(place) else np.zeros(2, dtype=np.int64)
    wide = int(place[:, 0].max(initial=0) - low[0] + 1)
    keys, index = np.unique((place[:, 1] - low[1]) * wide + place[:, 0] - low[0], return_inverse=True)
    used = in_tissue[known]
    units = np.bincount(index, minlength=len(keys))
    inside = np.bincount(index[used], minlength=len(keys))
    has_counts = used & np.isfinite(counts[known])
    counted = np.bincount(index[has_counts], minlength=len(keys))
    total = np.bincount(index[has_counts], weights=counts[known][has_counts], minlength=len(keys))
    least = max(FILLED_FROM * units.max(initial=0), 1) if by_area else 1
    with np.errstate(invalid="ignore"):
        found = np.where(counted > 0, total / counted if by_area else total, np.nan)
    array = np.column_stack([keys % wide, keys // wide]) + low
    return Squares(array, inside >= least, found)


def half_a_square(side_um: float) -> NDArray[np.float64]:
    """(3, 3) from um of squares' numbers, whose centres are whole, to um."""
    matrix = np.eye(3)
    matrix[:2, 2] = side_um / 2
    return matrix
