"""Which spot of a grid each placed unit (bin or cell) belongs to, and what the spots are."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spotweave.errors import Refusal
from spotweave.geometry import Points, apply
from spotweave.pool.grids import NO_SPOT, Grid

WITHOUT_PLACE = "without a place on the slide"
OFF_PICTURE = "off the picture"
BETWEEN = "between round spots"
REASONS = (WITHOUT_PLACE, OFF_PICTURE, BETWEEN)
NO_REASON = -1

Kind = TypeVar("Kind", bound=np.generic)
ROUNDING_UM = 1e-6
TABLE_TO_UNITS = 8  # places of a table to a unit, beyond which sorting takes less memory
IN_TISSUE_FROM = 0.5  # share of a spot's area that its bins in tissue must cover


@dataclass(frozen=True)
class Array:
    """An array of bins: `size_um` of one; `column_row` (U, 2) int64; `matrix` (3, 3), array um -> slide px."""

    size_um: float
    column_row: NDArray[np.int64]
    matrix: NDArray[np.float64]


@dataclass(frozen=True)
class Units:
    """Placed units, all that the deposit lists.

    Attributes
    ----------
    xy_px
        (U, 2) float64 slide px, NaN without a place.
    in_tissue
        (U,) bool.
    picture_px
        Width and height of the slide.
    pixel_size_um
        um per px.
    array
        Of bins; None for cells.
    """

    xy_px: Points
    in_tissue: NDArray[np.bool_]
    picture_px: tuple[int, int]
    pixel_size_um: float
    array: Array | None = None

    @functools.cached_property
    def on_slide(self) -> Placed:
        """In the frame of grids of the slide."""
        x, y = self.xy_px.T
        wide, tall = self.picture_px
        reason = np.full(len(x), NO_REASON, dtype=np.int64)
        reason[~((x >= 0) & (x < wide) & (y >= 0) & (y < tall))] = REASONS.index(OFF_PICTURE)
        reason[~(np.isfinite(x) & np.isfinite(y))] = REASONS.index(WITHOUT_PLACE)
        matrix = np.diag([1 / self.pixel_size_um, 1 / self.pixel_size_um, 1.0])
        return Placed(
            _some(self.xy_px, reason == NO_REASON) * self.pixel_size_um, reason, np.asarray(matrix, dtype=np.float64)
        )

    @functools.cached_property
    def on_array(self) -> Placed:
        """In the frame of grids of the array, where every bin has a place."""
        assert self.array is not None
        um = np.asarray((self.array.column_row + 0.5) * self.array.size_um, dtype=np.float64)
        return Placed(um, np.full(len(um), NO_REASON, dtype=np.int64), self.array.matrix)


@dataclass(frozen=True)
class Placed:
    """Units in a grid's frame: `um` (N, 2) of those with a place, `reason` (U,) why not or -1, `matrix` um -> px."""

    um: Points
    reason: NDArray[np.int64]
    matrix: NDArray[np.float64]


@dataclass(frozen=True)
class Assigned:
    """Units brought into a grid.

    Attributes
    ----------
    spot
        (U,) int64 row of `spots`, or `len(spots)` + index of a reason in `REASONS`.
    spots
        By (array_row, array_col): `name` (as 0012x0345: row, column), `array_row`, `array_col`, `units`,
        `units_in_tissue` int64, `x_px`, `y_px` float64 (the centre, slide px), `in_tissue` int64, `is_partial` bool.
    origin_um
        Of the grid, in its frame.
    """

    spot: NDArray[np.int64]
    spots: pd.DataFrame
    origin_um: tuple[float, float]


def assign(grid: Grid, units: Units) -> Assigned:
    """Bring units into a grid by their centres.

    A unit on the line between two squares is in the lower and right one. A spot is in tissue where bins in tissue cover
    half of it; of cells, where there is one. It is partial where it sticks out of the picture or of the array (of
    cells: of the box around them).

    Raises
    ------
    Refusal
        The grid's spots are smaller than bins, or no multiple of them in their own frame, or units have no array.
    """
    _check(grid, units)
    found = units.on_array if grid.frame == "array" else units.on_slide
    reason = found.reason
    used = reason == NO_REASON
    origin_um = (0.0, 0.0)
    if grid.layout == "hest" and len(found.um):
        origin_um = (float(found.um[:, 0].min()), float(found.um[:, 1].min()))
    rows, columns = grid.places(found.um, origin_um)
    if grid.layout == "hexagonal":
        is_in_one = rows != NO_SPOT
        is_in_one |= columns != NO_SPOT
        reason = reason.copy()
        reason[np.flatnonzero(used)[~is_in_one]] = REASONS.index(BETWEEN)
        used, rows, columns = reason == NO_REASON, rows[is_in_one], columns[is_in_one]
    row, column, index = _distinct(rows, columns)
    spot = index
    if len(index) < len(reason):
        spot = len(row) + reason
        spot[used] = index
    centres_um = grid.centres_um(row, column, origin_um)
    counted = np.bincount(index, minlength=len(row))
    in_tissue = np.bincount(index[_some(units.in_tissue, used)], minlength=len(row))
    xy_px = apply(found.matrix, centres_um)
    least = 1.0
    if units.array is not None:
        least = IN_TISSUE_FROM * grid.area_um2 / units.array.size_um**2
    on_picture = ((xy_px >= 0) & (xy_px < np.asarray(units.picture_px))).all(axis=1)
    spots = pd.DataFrame(
        {
            "name": [f"{at[0]:04d}x{at[1]:04d}" for at in zip(row.tolist(), column.tolist(), strict=True)],
            "array_row": row,
            "array_col": column,
            "x_px": xy_px[:, 0],
            "y_px": xy_px[:, 1],
            "units": counted,
            "units_in_tissue": in_tissue,
            "in_tissue": ((in_tissue >= least) & on_picture).astype(np.int64),
            "is_partial": _sticks_out(grid, units, found, centres_um),
        }
    )
    return Assigned(spot, spots, origin_um)


def _check(grid: Grid, units: Units) -> None:
    """Refuse a grid that the units cannot fill evenly."""
    if units.array is None:
        if grid.frame == "array":
            raise Refusal(f"{grid.name}: cells have no array to pool in; choose a grid such as square_55um")
        return
    size_um = units.array.size_um
    if grid.size_um < size_um:
        raise Refusal(
            f"{grid.name}: spots smaller than the bins, which have {size_um:g} um; choose larger spots or smaller bins",
            measured=grid.size_um,
            threshold=size_um,
        )
    if grid.frame == "array" and grid.size_um % size_um:
        raise Refusal(
            f"{grid.name}: no multiple of the bins, which have {size_um:g} um; choose one, or squares of the slide such"
            f" as square_{grid.size_um:g}um",
            measured=grid.size_um,
            threshold=size_um,
        )


def _distinct(
    rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Row and column of the spots there are, by (row, column), and the index of each unit's."""
    if not len(rows):
        return rows, columns, rows
    low, high = (rows.min(), columns.min()), (rows.max(), columns.max())
    wide, tall = int(high[1] - low[1] + 1), int(high[0] - low[0] + 1)
    key = (rows - low[0]) * wide + columns - low[1]
    if wide * tall > TABLE_TO_UNITS * len(rows):
        found, index = np.unique(key, return_inverse=True)
        return found // wide + low[0], found % wide + low[1], index.astype(np.int64)
    is_there = np.zeros(wide * tall, dtype=bool)
    is_there[key] = True
    number = np.cumsum(is_there) - 1
    found = np.flatnonzero(is_there)
    return found // wide + low[0], found % wide + low[1], number[key]


def _some(values: NDArray[Kind], used: NDArray[np.bool_]) -> NDArray[Kind]:
    """Some rows, without a copy where they are all of them."""
    return values if used.all() else values[used]


def _sticks_out(grid: Grid, units: Units, found: Placed, centres_um: Points) -> NDArray[np.bool_]:
    """Spots of which a part is outside the picture or where no units are listed; by the box around a spot."""
    half_um = grid.size_um / 2
    corners = half_um * np.array([(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)])
    partial = np.zeros(len(centres_um), dtype=bool)
    um, matrix = found.um, found.matrix
    if not len(um):
        return partial
    array = units.array
    to_array = np.eye(3)
    if array is None:
        low, high = um.min(axis=0), um.max(axis=0)
    else:
        low, high = array.column_row.min(axis=0) * array.size_um, (array.column_row.max(axis=0) + 1) * array.size_um
        to_array = np.linalg.inv(array.matrix) @ matrix
    for corner in corners:
        at_um = centres_um + corner
        xy_px, in_array = apply(matrix, at_um), apply(np.asarray(to_array), at_um)
        partial |= ((xy_px < 0) | (xy_px > np.asarray(units.picture_px))).any(axis=1)
        partial |= ((in_array < low - ROUNDING_UM) | (in_array > high + ROUNDING_UM)).any(axis=1)
    return partial
