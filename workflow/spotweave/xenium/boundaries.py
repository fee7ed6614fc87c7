"""Polygons of cells and nuclei: `cell_boundaries.*`, `nucleus_boundaries.*`, vertices in um.

The vertices of a polygon stand in a row and its last is its first. Since Xenium 2 a cell may have several nuclei,
told apart by `label_id`; early files of 2.0 lack it, and their nuclei of one cell follow each other under one name.
Those are taken apart where a ring closes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely
from numpy.typing import NDArray

from spotweave.deposits import arrow_tables
from spotweave.deposits.raw import RawFile
from spotweave.errors import Refusal
from spotweave.xenium.cells import cell_names

NEEDED = ("cell_id", "vertex_x", "vertex_y")
WANTED = {"cell_id": pa.string(), "vertex_x": pa.float64(), "vertex_y": pa.float64(), "label_id": pa.int64()}
SMALLEST_RING = 4  # vertices, the first counted again as the last


@dataclass(frozen=True)
class Boundaries:
    """Polygons as filed, one per cell or nucleus.

    Attributes
    ----------
    cell_id
        (polygons,) str: the cell each belongs to; a cell may have several.
    label_id
        (polygons,) int64, None where the file has none.
    polygons
        (polygons,) shapely geometries, um.
    report
        JSON-ready: `polygons`, `polygons_invalid` (self-crossing, kept), `polygons_degenerate` (fewer than three
        corners, left out), `polygons_split` (found by taking merged ones apart), `cells_with_several_polygons`.
    """

    cell_id: NDArray[np.object_]
    label_id: NDArray[np.int64] | None
    polygons: NDArray[np.object_]
    report: dict[str, Any]


def read_boundaries(raw: RawFile) -> Boundaries:
    """Read the polygons.

    Raises
    ------
    Refusal
        The file is damaged or no table of vertices, or a vertex has no place or no cell.
    """
    with arrow_tables.open_table(raw, WANTED, NEEDED) as table:
        parts = [
            (
                cell_names(batch.column("cell_id")),
                np.column_stack([arrow_tables.numbers(batch.column(name)) for name in ("vertex_x", "vertex_y")]),
                pc.cast(batch.column("label_id"), pa.int64()) if "label_id" in table.columns else None,
            )
            for batch in table.batches
        ]
        has_labels = "label_id" in table.columns
    if not parts:
        raise Refusal(f"{raw.name}: the table has a header and no vertices; download the file again")
    cells = pa.chunked_array([part[0] for part in parts])
    xy = np.concatenate([part[1] for part in parts])
    bad = int(max(cells.null_count, (~np.isfinite(xy).all(axis=1)).sum()))
    if bad:
        raise Refusal(
            f"{raw.name}: {bad:,} vertices have no cell or no place; download the file again", measured=bad, threshold=0
        )
    coded = cells.combine_chunks().dictionary_encode()
    code = np.asarray(coded.indices.to_numpy(zero_copy_only=False), dtype=np.int64)
    labels = np.concatenate([np.asarray(part[2]) for part in parts]) if has_labels else None
    starts = _starts(code, labels)
    runs = len(starts)
    if labels is None:
        starts = _take_apart(xy, starts)
    lengths = np.diff(np.append(starts, len(xy)))
    ring = np.repeat(np.arange(len(starts)), lengths)
    closed = (xy[starts] == xy[starts + lengths - 1]).all(axis=1)
    is_ring = lengths >= np.where(closed, SMALLEST_RING, SMALLEST_RING - 1)
    inside = is_ring[ring]
    number = np.cumsum(is_ring) - 1
    polygons = shapely.polygons(shapely.linearrings(xy[inside], indices=number[ring[inside]]))
    first = starts[is_ring]
    cell_id = np.asarray(coded.dictionary.to_pylist(), dtype=object)[code[first]]
    _, times = np.unique(code[first], return_counts=True)
    report = {
        "polygons": len(polygons),
        "polygons_invalid": int((~shapely.is_valid(polygons)).sum()),
        "polygons_degenerate": int((~is_ring).sum()),
        "polygons_split": len(starts) - runs,
        "cells_with_several_polygons": int((times > 1).sum()),
        "has_label_id": has_labels,
    }
    return Boundaries(cell_id, None if labels is None else labels[first], polygons, report)


def _starts(code: NDArray[np.int64], labels: NDArray[np.int64] | None) -> NDArray[np.intp]:
    """Index of the first vertex of every run of one cell, or of one label of one cell."""
    changes = np.diff(code) != 0
    if labels is not None:
        changes |= np.diff(labels) != 0
    return np.concatenate([[0], np.flatnonzero(changes) + 1]).astype(np.intp)


def _take_apart(xy: NDArray[np.float64], starts: NDArray[np.intp]) -> NDArray[np.intp]:
    """Starts of the rings, where a run holds several: a ring ends where its first vertex comes again."""
    ends = np.append(starts[1:], len(xy))
    run = np.repeat(np.arange(len(starts)), ends - starts)
    again = (xy == xy[starts][run]).all(axis=1)
    again[starts] = False
    merged = np.unique(run[again & (np.arange(len(xy)) < ends[run] - 1)])
    more: list[int] = []
    for index in merged.tolist():
        start, end = int(starts[index]), int(ends[index])
        while True:
            closes = np.flatnonzero((xy[start + 1 : end] == xy[start]).all(axis=1))
            if not closes.size or start + int(closes[0]) + 2 >= end:
                break
            start += int(closes[0]) + 2
            more.append(start)
    return np.sort(np.concatenate([starts, np.array(more, dtype=np.intp)]))
