"""Polygons of cells and nuclei: `cell_boundaries.*`, `nucleus_boundaries.*`, vertices in um; whole, or as a stream.

The vertices of a polygon stand in a row and its last is its first. Since Xenium 2 a cell may have several nuclei,
told apart by `label_id`; early files of 2.0 lack it, and their nuclei of one cell follow each other under one name.
Those are taken apart where a ring closes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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
        corners, left out), `polygons_split` (found by taking merged ones apart), `cells_with_several_polygons`. Empty
        in the parts of a stream, which has one for all.
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
    with stream(raw) as outlines:
        parts = list(outlines)
    labels = [part.label_id for part in parts if part.label_id is not None]
    return Boundaries(
        np.concatenate([part.cell_id for part in parts]),
        np.concatenate(labels) if labels else None,
        np.concatenate([part.polygons for part in parts]),
        outlines.report(),
    )


@contextmanager
def stream(raw: RawFile) -> Iterator[Outlines]:
    """Open the polygons of a file, to be had some ten thousand at a time.

    Raises
    ------
    Refusal
        As `read_boundaries`; also while it is read.
    """
    with arrow_tables.open_table(raw, WANTED, NEEDED) as table:
        yield Outlines(table)


@dataclass(frozen=True)
class _Vertices:
    """Some rows of a table: `cell` (N,) text, `xy` (N, 2) um, `label` (N,) int64 where the file has them."""

    cell: pa.Array
    xy: NDArray[np.float64]
    label: NDArray[np.int64] | None

    def __len__(self) -> int:
        return len(self.cell)

    def rows(self, start: int, end: int) -> _Vertices:
        label = None if self.label is None else self.label[start:end]
        return _Vertices(self.cell.slice(start, end - start), self.xy[start:end], label)

    def runs(self) -> tuple[NDArray[np.int32], pa.Array, NDArray[np.intp]]:
        """Code of each row's cell, what the codes stand for, and where runs of a cell (and label) start."""
        coded = self.cell.dictionary_encode()
        code = np.asarray(coded.indices.to_numpy(zero_copy_only=False))
        return code, coded.dictionary, _starts(code, self.label)


class Outlines:
    """Iterates once over the polygons of a file; what it has met is in `report`."""

    def __init__(self, table: arrow_tables.Table) -> None:
        self._table = table
        self._polygons = self._invalid = self._degenerate = self._split = 0
        self._cells: set[str] = set()
        self._several: set[str] = set()

    def __iter__(self) -> Iterator[Boundaries]:
        waiting: _Vertices | None = None
        for batch in self._table.batches:
            found = self._checked(batch)
            if waiting is not None:
                found = _joined(waiting, found)
            last = int(found.runs()[2][-1]) if len(found) else 0  # the last run may go on in the next batch
            if last:
                yield self._polygons_of(found.rows(0, last))
            waiting = found.rows(last, len(found))
        if waiting is None or not len(waiting):
            raise Refusal(f"{self._table.name}: the table has a header and no vertices; download the file again")
        yield self._polygons_of(waiting)

    def report(self) -> dict[str, Any]:
        """JSON-ready, as `Boundaries.report`."""
        return {
            "polygons": self._polygons,
            "polygons_invalid": self._invalid,
            "polygons_degenerate": self._degenerate,
            "polygons_split": self._split,
            "cells_with_several_polygons": len(self._several),
            "has_label_id": "label_id" in self._table.columns,
        }

    def _checked(self, batch: pa.RecordBatch) -> _Vertices:
        cell = cell_names(batch.column("cell_id"))
        xy = np.column_stack([arrow_tables.numbers(batch.column(name)) for name in ("vertex_x", "vertex_y")])
        bad = int(max(cell.null_count, (~np.isfinite(xy).all(axis=1)).sum()))
        if bad:
            raise Refusal(
                f"{self._table.name}: {bad:,} vertices have no cell or no place; download the file again",
                measured=bad,
                threshold=0,
            )
        has_labels = "label_id" in self._table.columns
        label = np.asarray(pc.cast(batch.column("label_id"), pa.int64())) if has_labels else None
        return _Vertices(cell, xy, label)

    def _polygons_of(self, found: _Vertices) -> Boundaries:
        """The polygons of whole runs."""
        code, names, starts = found.runs()
        runs, xy = len(starts), found.xy
        if found.label is None:
            starts = _take_apart(xy, starts)
        lengths = np.diff(np.append(starts, len(xy)))
        ring = np.repeat(np.arange(len(starts)), lengths)
        closed = (xy[starts] == xy[starts + lengths - 1]).all(axis=1)
        is_ring = lengths >= np.where(closed, SMALLEST_RING, SMALLEST_RING - 1)
        inside = is_ring[ring]
        number = np.cumsum(is_ring) - 1
        polygons = shapely.polygons(shapely.linearrings(xy[inside], indices=number[ring[inside]]))
        first = starts[is_ring]
        cell_id = np.asarray(names.to_pylist(), dtype=object)[code[first]]
        self._polygons += len(polygons)
        self._invalid += int((~shapely.is_valid(polygons)).sum())
        self._degenerate += int((~is_ring).sum())
        self._split += len(starts) - runs
        for name in cell_id.tolist():
            (self._several if name in self._cells else self._cells).add(name)
        return Boundaries(cell_id, None if found.label is None else found.label[first], polygons, {})


def _joined(first: _Vertices, second: _Vertices) -> _Vertices:
    label = None
    if first.label is not None and second.label is not None:
        label = np.concatenate([first.label, second.label])
    return _Vertices(pa.concat_arrays([first.cell, second.cell]), np.concatenate([first.xy, second.xy]), label)


def _starts(code: NDArray[np.int32], labels: NDArray[np.int64] | None) -> NDArray[np.intp]:
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
