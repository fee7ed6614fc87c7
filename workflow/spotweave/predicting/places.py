"""Where a slide is asked: spots of a table, or a lattice over the tissue."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from spotweave.errors import Refusal

if TYPE_CHECKING:
    import shapely

Array = NDArray[np.float64]
SQUARE, HEXAGONAL = "square", "hexagonal"
# Beyond it a pitch is a slip of the pen: a slide of 20 x 20 mm would have 16 million places.
PLACES_MAX = 2_000_000


@dataclass(frozen=True)
class Places:
    """N places on a slide: names, and (N, 2) float64 x and y in px of the full-resolution picture."""

    names: Sequence[str]
    positions_px: Array

    def at(self, start: int, stop: int) -> Places:
        """Some of them, in their order."""
        return Places(self.names[start:stop], self.positions_px[start:stop])


def read_places(path: Path, width_px: int, height_px: int) -> Places:
    """Spots of a CSV with columns `x` and `y`, px of the slide, and perhaps `spot`, their names.

    Raises
    ------
    Refusal
        If it is no such table, a name stands twice, or a spot lies outside the slide; the message names the row.
    """
    names, found = [], []
    try:
        with open(path, encoding="utf-8-sig", newline="") as handle:
            reader = csv.DictReader(handle)
            columns = reader.fieldnames or []
            if not {"x", "y"} <= set(columns):
                raise Refusal(
                    f"{path}: no columns x and y, but {', '.join(columns) or 'nothing'}: name them in its head"
                )
            for line, row in enumerate(reader, 2):
                found.append([_number(path, line, name, row[name]) for name in ("x", "y")])
                names.append(row.get("spot") or str(line - 1))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise Refusal(f"{path}: cannot be read ({error}): give a CSV with columns x and y") from error
    if not found:
        raise Refusal(f"{path}: no rows: give a spot a row, or no table for a lattice over the tissue")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise Refusal(f"{path}: spot {twice[0]!r} stands {names.count(twice[0])} times: give each its own name")
    positions_px = np.array(found, dtype=np.float64)
    outside = ((positions_px < 0) | (positions_px > [width_px, height_px])).any(axis=1)
    if outside.any():
        first = int(np.argmax(outside))
        x, y = positions_px[first]
        raise Refusal(
            f"{path}:{first + 2}: spot {names[first]} at x {x:g}, y {y:g} lies outside the slide of {width_px} x"
            f" {height_px} px, and so do {int(outside.sum()) - 1} others; x and y are px of its full resolution",
            measured=int(outside.sum()),
            threshold=0,
        )
    return Places(names, positions_px)


def lattice(
    tissue: Sequence[shapely.Polygon], layout: str, pitch_um: float, pixel_size_um: float, width_px: int, height_px: int
) -> Places:
    """The points of a lattice over the slide whose middle lies in tissue, row by row, named `<row>x<column>`.

    Parameters
    ----------
    tissue
        Outlines, px of the slide.
    layout
        `square`; or `hexagonal`: rows sqrt(3) / 2 pitches apart, every other one half a pitch to the right.

    Raises
    ------
    Refusal
        If there are too many of them, or none.
    """
    import shapely

    pitch_px = pitch_um / pixel_size_um
    step_px = pitch_px * (math.sqrt(3) / 2 if layout == HEXAGONAL else 1.0)
    rows, columns = math.floor(height_px / step_px + 0.5), math.floor(width_px / pitch_px + 0.5)
    if rows * columns > PLACES_MAX:
        raise Refusal(
            f"a pitch of {pitch_um:g} um makes {rows * columns:,} places, at most {PLACES_MAX:,} are looked at: take a"
            " larger one",
            measured=rows * columns,
            threshold=PLACES_MAX,
        )
    row, column = (one.ravel() for one in np.mgrid[:rows, :columns])
    shift = np.where(row % 2 == 1, 0.5, 0.0) if layout == HEXAGONAL else 0.0
    at = np.column_stack([(column + 0.5 + shift) * pitch_px, (row + 0.5) * step_px])
    area = shapely.union_all(list(tissue))
    shapely.prepare(area)
    inside = shapely.contains_xy(area, at) & (at[:, 0] <= width_px)
    if not inside.any():
        raise Refusal(f"no place of a lattice of {pitch_um:g} um lies in tissue: take a smaller pitch, or name spots")
    names = [f"{one}x{other}" for one, other in zip(row[inside], column[inside], strict=True)]
    return Places(names, at[inside])


def _number(path: Path, line: int, column: str, cell: str | None) -> float:
    try:
        value = float(cell or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise Refusal(f"{path}:{line}: {column} is {cell!r}, which is no number of px")
    return value
