"""Where the spots and the fiducial dots of a Visium capture area lie, in um.

One frame for both: the origin is the centre of the spot at row 0, column 0; x grows along the columns, y along the
rows, and the hourglass is at the top left. The places were measured on Loupe alignment files of both slides; the
rules below reproduce every dot of them.

All dots lie on a hexagonal lattice (x step of two columns apart within a row, rows offset by one). The sides are
three dots thick, and thinned by rules that differ from side to side; each corner holds another shape.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from spotweave.errors import Refusal
from spotweave.visium.spacing import SPOT_DIAMETER_UM

if TYPE_CHECKING:  # who only draws dots needs no tables
    import pandas as pd

SHAPES = ("hourglass", "hexagon_filled", "hexagon_open", "triangle")  # clockwise from the top left
SIDES = ("top", "right", "bottom", "left")
DOT_DIAMETER_UM = 90.0  # of the printed ring, its outer edge, on real frames
# Four areas of a slide share a frame but for the one dot that the middle row of their top side lacks.
GAP_COLUMN = {"A1": 9, "B1": 11, "C1": 13, "D1": 15}

SPOT_RADIUS_UM = SPOT_DIAMETER_UM / 2
# What `spot_diameter_fullres` of the vendor's scale factors stands for, which is no spot's true diameter; the first
# Space Rangers took a spot for 70 um.
SOFTWARE_SPOT_UM = {"6.5 mm": 65.0, "11 mm": 60.0}
FIRST_SOFTWARE_SPOT_UM = 70.0
SOFTWARE_DOT_UM = 105.0  # what `fiducial_diameter_fullres` stands for, of every version

Cells = list[tuple[int, int]]


@dataclass(frozen=True)
class CaptureArea:
    """One size of capture area.

    Attributes
    ----------
    name
        `6.5 mm` or `11 mm`.
    rows, columns
        Of the array; a spot's row and column are both even or both odd.
    pitch_um
        um between columns (half the distance of two spots of a row) and between rows.
    dots_um
        (N, 2) float64, centres of the fiducial dots: 555 (with the gap of no area) or 812.
    shape
        (N,) int8, index in `SHAPES` of the corner a dot belongs to, -1 on the sides.
    side
        (N,) int8, index in `SIDES`, -1 in the corners.
    corners_um
        (4, 2) float64, centres of the four shapes' bounding boxes, in the order of `SHAPES`.
    shape_half_um
        (2,) float64, half width and half height of a shape between the centres of its outermost dots.
    lattice_um
        (2,) float64, x step and y step of the lattice of dots.
    holes_um
        (M, 2) float64, places of the lattice inside the frame's band that hold no dot on any area.
    gaps_um
        (4, 2) float64, the place that is empty on areas A1, B1, C1, D1; (0, 2) where the frame does not name its area.
    """

    name: str
    rows: int
    columns: int
    pitch_um: tuple[float, float]
    dots_um: NDArray[np.float64]
    shape: NDArray[np.int8]
    side: NDArray[np.int8]
    corners_um: NDArray[np.float64]
    shape_half_um: NDArray[np.float64]
    lattice_um: NDArray[np.float64]
    holes_um: NDArray[np.float64]
    gaps_um: NDArray[np.float64]

    def places(self) -> NDArray[np.int64]:
        """(N, 2) int64 row and column of every spot, row by row: 4,992 or 14,336."""
        return np.array([(row, col) for row in range(self.rows) for col in range(row % 2, self.columns, 2)])

    def spots_um(self, places: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
        """(N, 2) float64 centres (x, y) of the spots at `places` (N, 2: row, column), all spots if not given."""
        at = self.places() if places is None else places
        return np.asarray(at[:, ::-1] * np.asarray(self.pitch_um), dtype=np.float64)

    def outline_um(self) -> NDArray[np.float64]:
        """(4, 2) float64 corners of the box around all dots, clockwise from the top left."""
        (left, top), (right, bottom) = self.dots_um.min(axis=0), self.dots_um.max(axis=0)
        return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


def _shapes(half_step: float, row_step: float) -> list[NDArray[np.float64]]:
    p, h = 2 * half_step, row_step
    hexagon = [(-p / 2, -h), (p / 2, -h), (-p, 0), (p, 0), (-p / 2, h), (p / 2, h)]
    hourglass = [(-p, -h), (0, -h), (p, -h), (-p / 2, 0), (p / 2, 0), (-p, h), (0, h), (p, h)]
    triangle = [(0, -h), (-p / 2, 0), (p / 2, 0), (-p, h), (0, h), (p, h)]
    return [np.array(dots, dtype=np.float64) for dots in (hourglass, [*hexagon, (0, 0)], hexagon, triangle)]


def _row(row: int, columns: range | list[int]) -> Cells:
    return [(row, column) for column in columns]


def _sides_small() -> dict[str, Cells]:
    top = _row(0, range(8, 93, 2)) + _row(1, range(7, 92, 2)) + _row(2, range(8, 93, 2))
    bottom = _row(56, range(8, 93, 2)) + _row(57, [7, *range(9, 90, 4)]) + _row(58, range(8, 93, 2))
    left: Cells = []
    right: Cells = []
    for row in range(4, 55):
        if row % 2 == 0:
            left += _row(row, [0, 4] if row == 52 else [0, 2, 4])
            right += _row(row, [94, 96, 98])
        else:
            left += _row(row, [1, 3, 5])
            is_thin = row % 4 == (1 if row < 31 else 3)
            right += _row(row, [95, 99] if is_thin else [95, 97, 99])
    return {"top": top, "right": right, "bottom": bottom, "left": left}


def _sides_large() -> dict[str, Cells]:
    top = _row(0, [8, *range(10, 155, 4), 156]) + _row(1, range(7, 156, 2)) + _row(2, [*range(8, 153, 4), 156])
    bottom = _row(90, range(8, 157, 2)) + _row(91, [7, *range(9, 154, 4)]) + _row(92, range(8, 157, 2))
    left: Cells = []
    right: Cells = []
    for row in range(4, 89):
        if row % 2 == 0:
            left += _row(row, [2, 4] if row == 6 else [0, 2, 4])
            right += _row(row, [160, 162] if row == 88 else [158, 160, 162])
        else:
            is_thin = row % 4 == 1
            left += _row(row, [1, 3, 5] if is_thin else [3])
            right += _row(row, [159, 163] if is_thin else [159, 161, 163])
    return {"top": top, "right": right, "bottom": bottom, "left": left}


def _build(
    name: str,
    *,
    spots: tuple[int, int, float, float],
    origin_um: tuple[float, float],
    step_um: float,
    rows: int,
    columns: int,
    sides: dict[str, Cells],
    gap_cells: Cells,
) -> CaptureArea:
    """A capture area from the cells (row, column) of its sides on the lattice of dots."""
    origin, lattice = np.array(origin_um), np.array([step_um, 130.0])
    at = np.array([(2, 1), (columns - 3, 1), (columns - 3, rows - 2), (2, rows - 2)])  # column, row of the shapes
    corners = origin + at * lattice
    shapes = [centre + dots for centre, dots in zip(corners, _shapes(*lattice), strict=True)]
    sure = {side: [cell for cell in cells if cell not in gap_cells] for side, cells in sides.items()}
    dots = [*shapes, *(origin + np.array(cells)[:, ::-1] * lattice for cells in sure.values())]
    shape = [np.full(len(part), k if k < 4 else -1, dtype=np.int8) for k, part in enumerate(dots)]
    side = [np.full(len(part), k - 4 if k >= 4 else -1, dtype=np.int8) for k, part in enumerate(dots)]
    band = _band(rows, columns)
    taken = {tuple(cell) for cell in np.rint((np.vstack(shapes) - origin) / lattice)[:, ::-1].astype(int).tolist()}
    taken |= {cell for cells in sides.values() for cell in cells}
    holes = sorted(band - taken)
    return CaptureArea(
        name=name,
        rows=spots[0],
        columns=spots[1],
        pitch_um=spots[2:],
        dots_um=np.vstack(dots),
        shape=np.concatenate(shape),
        side=np.concatenate(side),
        corners_um=corners,
        shape_half_um=np.array([2 * step_um, 130.0]),
        lattice_um=lattice,
        holes_um=origin + np.array(holes)[:, ::-1] * lattice,
        gaps_um=origin + np.array(gap_cells, dtype=np.float64).reshape(-1, 2)[:, ::-1] * lattice,
    )


def _band(rows: int, columns: int) -> set[tuple[int, int]]:
    """Cells of the lattice under the frame: three rows at the top and bottom, six columns at the sides."""
    return {
        (row, column)
        for row in range(rows)
        for column in range(row % 2, columns, 2)
        if row < 3 or row >= rows - 3 or column < 6 or column >= columns - 6
    }


@cache
def capture_area(name: str) -> CaptureArea:
    """The capture area `6.5 mm` or `11 mm`; `KeyError` for any other."""
    return {"6.5 mm": _small, "11 mm": _large}[name]()


NAMES = ("6.5 mm", "11 mm")


def _small() -> CaptureArea:
    return _build(
        "6.5 mm",
        spots=(78, 128, 50.0, 87.0),
        origin_um=(-537.0, -421.0),
        step_um=75.0,
        rows=59,
        columns=100,
        sides=_sides_small(),
        gap_cells=[(1, column) for column in GAP_COLUMN.values()],
    )


def _large() -> CaptureArea:
    return _build(
        "11 mm",
        spots=(128, 224, 50.0, 86.5),
        origin_um=(-578.0, -488.0),
        step_um=75.5,
        rows=93,
        columns=164,
        sides=_sides_large(),
        gap_cells=[],
    )


def dots_of(area: CaptureArea, letter: str | None) -> NDArray[np.float64]:
    """(N, 2) centres of all dots of one of a slide's areas (`A1` to `D1`): 555 on 6.5 mm; all gaps empty if None."""
    if not len(area.gaps_um) or letter is None:
        return area.dots_um
    others = [k for k, name in enumerate(GAP_COLUMN) if name != letter]
    return np.vstack([area.dots_um, area.gaps_um[others]])


def refuse_twins(name: str, table: pd.DataFrame) -> None:
    """Refuse two spots of one capture area in the same place."""
    repeated = table.duplicated(["array_row", "array_col"])
    if repeated.any():
        row, col = table.loc[repeated, ["array_row", "array_col"]].iloc[0]
        raise Refusal(
            f"{name}: two spots are at row {row}, column {col} of the array ({int(repeated.sum()):,} such places); the"
            " file holds several capture areas, or is damaged",
            measured=int(repeated.sum()),
            threshold=0,
        )
