"""The spots of an array: the table of the spot detector, one of places and pixels, or a transformation of places."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spotweave.deposits.raw import RawFile
from spotweave.deposits.records import Records, parse_numbers, read_records
from spotweave.deposits.values import UNKNOWN
from spotweave.errors import Refusal
from spotweave.geometry import apply, fit_affine
from spotweave.readers.st_v1.places import Places, nearest, parse_places, rows_of_member, share_of_places

SPOT_FILE_EXPECTED = (
    "columns x, y and optionally new_x, new_y, pixel_x, pixel_y, selected, or a first column of spots such as 10x14 "
    "with X and Y in pixels"
)
FLAGS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1}
FEWEST_COMPARED = 20
FARTHEST_FROM_PLACE = 0.75  # array steps; .51 in real tables (rounded), 1 and more for a wrong place, less its own .3
MEASURED_TO_STEPS = 0.01  # places with two decimals, in both axes


@dataclass(frozen=True)
class Spots:
    """The spot file, sorted by (row, column) of the array.

    `array` int64 (spots, 2), column first; `measured` float64 (spots, 2), NaN if not given; `pixels` float64
    (spots, 2), x first, NaN if not given; `in_tissue` int64 (spots,).
    """

    array: NDArray[np.int64]
    measured: NDArray[np.float64]
    pixels: NDArray[np.float64]
    in_tissue: NDArray[np.int64]
    report: dict[str, Any]

    def __len__(self) -> int:
        return len(self.array)

    @functools.cached_property
    def ids(self) -> list[str]:
        """Names, such as `10x14`."""
        return [f"{x}x{y}" for x, y in self.array.tolist()]


def read_spots(raw: RawFile, member: str | None) -> Spots:
    """Read a spot file; `member` is the section to take from one of several."""
    records = read_records(raw)
    column = _find_columns(records)
    records, without_numbers = _without_unmeasured(records, column)
    places = np.full((len(records.rows), 2), np.nan)
    if column.keys:
        keys = parse_places(records.name, records.column(0), [f"row {line}" for line in records.lines])
        if any(keys.members):
            chosen, _ = rows_of_member(keys.members, member, records.name)
            keys = keys.keep(chosen)
            records = Records(
                records.name,
                records.header,
                [records.rows[row] for row in chosen],
                [records.lines[row] for row in chosen],
            )
        places = keys.xy
    else:
        places = _pair(records, column.place)
    array = nearest(places)
    measured = _pair(records, column.measured)
    if column.measured is None and (places != array).any():
        measured = places
    pixels = _pair(records, column.pixels)
    in_tissue = _flags(records, column.selected)
    order = np.lexsort((array[:, 0], array[:, 1]))
    _refuse_twins(records, array, order)
    report = {
        "spot_file_layout": "first column XxY" if column.keys else "columns x, y",
        "spot_file_columns_unused": column.unused,
        "spots_with_pixels": int(np.isfinite(pixels).all(axis=1).sum()),
        "spots_in_tissue": int(in_tissue.sum()),
        "in_tissue_given": column.selected is not None,
        "positions_without_numbers": without_numbers,
    }
    return Spots(array[order], measured[order], pixels[order], in_tissue[order], report)


def transformed_spots(raw: RawFile, places: Places) -> Spots:
    """The spots that have counts, put onto the picture by a transformation of their measured places."""
    try:
        numbers = [float(text) for text in raw.path.read_text(encoding="utf-8-sig").replace(",", " ").split()]
    except (UnicodeDecodeError, ValueError) as error:
        raise Refusal(f"{raw.name}: not a transformation of nine numbers ({error})") from error
    matrix = np.array(numbers).reshape(3, 3).T if len(numbers) == 9 else np.zeros((3, 3))
    if not np.isfinite(matrix).all() or not np.allclose(matrix[2], (0, 0, 1)) or abs(np.linalg.det(matrix)) < 1e-9:
        raise Refusal(
            f"{raw.name}: {len(numbers)} numbers, not the columns of an invertible affine matrix: nine numbers whose"
            " third, sixth and ninth are 0, 0 and 1",
            measured=len(numbers),
            threshold=9,
        )
    array, first_at = np.unique(nearest(places.xy), axis=0, return_index=True)
    order = np.lexsort((array[:, 0], array[:, 1]))
    xy = places.xy[first_at[order]]
    pixels = np.column_stack([xy, np.ones(len(xy))]) @ matrix[:2].T
    measured = xy if (xy != array[order]).any() else np.full(xy.shape, np.nan)
    report = {
        "spot_file_layout": "transformation of places",
        "spot_file_columns_unused": [],
        "spots_with_pixels": len(xy),
        "spots_in_tissue": len(xy),
        "in_tissue_given": False,
    }
    return Spots(array[order], measured, pixels, np.ones(len(xy), dtype=np.int64), report)


@dataclass(frozen=True)
class _SpotColumns:
    """Which columns of a spot file mean what; `keys` if the first one holds the places."""

    keys: bool
    place: tuple[int, int] | None
    measured: tuple[int, int] | None
    pixels: tuple[int, int] | None
    selected: int | None
    unused: list[str]


def _find_columns(records: Records) -> _SpotColumns:
    header = [name.lower() for name in records.header]
    known = ("x", "y", "new_x", "new_y", "pixel_x", "pixel_y", "he_x", "he_y", "selected")
    twice = [name for name in known if header.count(name) > 1]
    index = {name: header.index(name) for name in known if name in header}

    def pair(first: str, second: str) -> tuple[int, int] | None:
        return (index[first], index[second]) if first in index and second in index else None

    place, measured = pair("x", "y"), pair("new_x", "new_y")
    pixels = pair("pixel_x", "pixel_y") or pair("he_x", "he_y")
    half = any((known[i] in index) != (known[i + 1] in index) for i in range(0, 8, 2))
    keys = share_of_places(records.column(0)) > 0.5 and (place is None or pixels is None)
    if twice or half or not (keys or place):
        raise Refusal(
            f"{records.name}: unknown layout: expected {SPOT_FILE_EXPECTED}; found {', '.join(records.header)[:200]}"
        )
    if keys and pixels is None:
        place, pixels = None, place
    used = {0} if keys else set()
    used.update(*(columns for columns in (None if keys else place, measured, pixels) if columns))
    selected = index.get("selected")
    unused = [name for i, name in enumerate(records.header) if i not in used and i != selected and name]
    return _SpotColumns(keys, place, measured, pixels, selected, unused)


def _without_unmeasured(records: Records, column: _SpotColumns) -> tuple[Records, int]:
    """The records less the spots that are not selected and lack a number, and how many these are."""
    if column.selected is None:
        return records, 0
    numbers = [at for pair in (column.place, column.measured, column.pixels) if pair for at in pair]
    kept = [
        FLAGS.get(row[column.selected].lower()) != 0 or all(row[at].lower() not in UNKNOWN for at in numbers)
        for row in records.rows
    ]
    rows = [row for row, is_kept in zip(records.rows, kept, strict=True) if is_kept]
    lines = [line for line, is_kept in zip(records.lines, kept, strict=True) if is_kept]
    if not rows:
        raise Refusal(f"{records.name}: no spot is selected and has numbers; give the table of the spot detector")
    return Records(records.name, records.header, rows, lines), len(records.rows) - len(rows)


def _pair(records: Records, columns: tuple[int, int] | None) -> NDArray[np.float64]:
    """Two columns as float64 (rows, 2), NaN without columns."""
    if columns is None:
        return np.full((len(records.rows), 2), np.nan)
    return np.column_stack([parse_numbers(records, index) for index in columns])


def _flags(records: Records, index: int | None) -> NDArray[np.int64]:
    if index is None:
        return np.ones(len(records.rows), dtype=np.int64)
    found = [FLAGS.get(text.lower()) for text in records.column(index)]
    if None in found:
        first, more = found.index(None), found.count(None) - 1
        also = f" (and {more:,} more such rows)" if more else ""
        raise Refusal(
            f"{records.name}: row {records.lines[first]}, {records.label(index)}: {records.rows[first][index]!r} is "
            f"neither 0 nor 1{also}; correct the table",
            measured=more + 1,
            threshold=0,
        )
    return np.array(found, dtype=np.int64)


def _refuse_twins(records: Records, array: NDArray[np.int64], order: NDArray[np.intp]) -> None:
    same = np.flatnonzero((array[order][1:] == array[order][:-1]).all(axis=1))
    if same.size:
        first, second = sorted(records.lines[row] for row in order[same[0] : same[0] + 2])
        x, y = array[order[same[0]]]
        also = f" (and {same.size - 1:,} more such rows)" if same.size > 1 else ""
        raise Refusal(
            f"{records.name}: rows {first} and {second} both are spot {x}x{y}{also}; remove the wrong one",
            measured=int(same.size),
            threshold=0,
        )


def places_apart(spots: Spots) -> int:
    """Spots whose place on the array, measured place and pixels are not one; 0 where they are not all given.

    The spot detector computes measured places from pixels by an affine map, and places by rounding.
    """
    if len(spots) < FEWEST_COMPARED or not np.isfinite(spots.measured).all():
        return 0
    is_apart = (np.abs(spots.measured - spots.array) > FARTHEST_FROM_PLACE).any(axis=1)
    known = np.isfinite(spots.pixels).all(axis=1)
    good = known & ~is_apart
    for _ in range(2):  # once more without the spots that lie elsewhere, which drag the map along
        try:
            matrix = fit_affine(spots.measured[good], spots.pixels[good])
        except ValueError:
            return int(is_apart.sum())
        step_px = np.sqrt(abs(np.linalg.det(matrix[:2, :2])))
        off_px = np.linalg.norm(spots.pixels - apply(matrix, spots.measured), axis=1)
        is_off = known & (off_px > 1 + MEASURED_TO_STEPS * step_px)
        good = known & ~is_off & ~is_apart
    return int((is_apart | is_off).sum())
