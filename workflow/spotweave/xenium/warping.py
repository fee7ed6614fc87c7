"""Transcripts and outlines of a bundle on the slide: every vendor column, and `he_x`, `he_y` in slide px beside it.

Tables are read, mapped and written a million rows at a time, whatever their size. Positions on the slide are float32,
as the vendor's own are: at 65,000 px a step is 0.004 px or a nanometre, far below what an instrument tells apart, and
half the bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray
from tqdm import tqdm

from spotweave.annotations import write_detections
from spotweave.deposits import arrow_tables
from spotweave.deposits.opening import parsing
from spotweave.deposits.raw import RawFile, find_raw
from spotweave.errors import Refusal
from spotweave.geometry import Points
from spotweave.slide_map import SlideMap
from spotweave.xenium import boundaries, transcripts

X, Y = "he_x", "he_y"
METADATA = b"spotweave"  # key of the table's own note: JSON with `imaged_px`
IMAGED = "imaged_px"  # corners of what the instrument saw, slide px

ROWS_IN_GROUP = 1 << 20
PACKINGS = ("snappy", "zstd", "gzip", "lz4")
OTHER_PACKING = "zstd"
CODES = ("codeword_index",)  # numbers of few values: smaller as a dictionary
EDGE_POINTS = 33  # to an edge of the imaged box: a field bends it
CHECKED = 101  # points along each axis of the imaged box that are mapped there and back
# Beyond, the field folds: two places of the section come to one of the slide. What it bends comes back to nanometres.
MAX_ROUND_TRIP_UM = 0.5

MOST_UM = 200_000.0  # from the instrument's origin: a slide is 75 mm long

TRANSCRIPTS: Mapping[str, pa.DataType] = {
    "transcript_id": pa.uint64(),
    "cell_id": pa.string(),
    "overlaps_nucleus": pa.uint8(),
    "feature_name": pa.string(),
    "x_location": pa.float32(),
    "y_location": pa.float32(),
    "z_location": pa.float32(),
    "qv": pa.float32(),
    "fov_name": pa.string(),
    "nucleus_distance": pa.float32(),
    "codeword_index": pa.int32(),
    "codeword_category": pa.string(),
    "is_gene": pa.bool_(),
}
OUTLINES: Mapping[str, pa.DataType] = {
    "cell_id": pa.string(),
    "vertex_x": pa.float32(),
    "vertex_y": pa.float32(),
    "label_id": pa.int64(),
}
OF_OUTLINES = {  # role -> what QuPath calls it, and its colour
    "cell_boundaries": ("Cell", (80, 80, 220)),
    "nucleus_boundaries": ("Nucleus", (220, 60, 60)),
}


@dataclass(frozen=True)
class Outputs:
    """Where a section's tables go: transcripts (.parquet), and (.parquet, .geojson) of cells and of nuclei."""

    transcripts: Path
    cells: tuple[Path, Path]
    nuclei: tuple[Path, Path]


def warp_sample(manifest: Path, slide_map: SlideMap, outputs: Outputs) -> dict[str, Any]:
    """Bring the transcripts and outlines of a bundle onto the slide.

    Parameters
    ----------
    manifest
        `raw.json`, with the role `transcripts`; without `cell_boundaries` or `nucleus_boundaries` their tables are
        empty.
    slide_map
        um -> slide px.

    Returns
    -------
    Measures of the record.

    Raises
    ------
    Refusal
        A table is damaged, has no transcripts, or has columns of our names; or the map folds.
    """
    raw = find_raw(manifest, "transcripts")
    if raw is None:
        raise Refusal("no transcripts to bring onto the slide; give them in the column transcripts")
    measures = warp_transcripts(raw, slide_map, outputs.transcripts)
    for role, name, paths in (
        ("cell_boundaries", "cells", outputs.cells),
        ("nucleus_boundaries", "nuclei", outputs.nuclei),
    ):
        measures[f"outlines_of_{name}"] = warp_outlines(find_raw(manifest, role), slide_map, role, *paths)
    return measures


def warp_transcripts(raw: RawFile, slide_map: SlideMap, target: Path) -> dict[str, Any]:
    """Write the transcripts with `he_x` and `he_y` (float32, slide px; missing where a position is).

    Returns
    -------
    dict
        `transcripts`, `transcripts_without_position`, `round_trip_max_um`, `round_trip_p95_um` (of a square lattice
        over the section, there, as float32, and back).
    """
    at = ("x_location", "y_location")
    seen = Seen()
    with arrow_tables.open_table(raw, TRANSCRIPTS, transcripts.NEEDED, whole=True) as table:
        _write(target, _mapped(raw.name, table, slide_map, at, seen), table, seen, slide_map)
    if not seen.rows:
        raise Refusal(f"{raw.name}: the table has a header and no transcripts; download the file again")
    error_um = _round_trip_um(slide_map, seen)
    if error_um.max() > MAX_ROUND_TRIP_UM:
        raise Refusal(
            f"{raw.name}: the map onto the slide folds: places come back {error_um.max():.2f} um from where they were;"
            " register the section again without the non-rigid step, or give a matrix",
            measured=float(error_um.max()),
            threshold=MAX_ROUND_TRIP_UM,
        )
    return {
        "transcripts": seen.rows,
        "transcripts_without_position": seen.without_position,
        "round_trip_max_um": float(error_um.max()),
        "round_trip_p95_um": float(np.percentile(error_um, 95)),
    }


def warp_outlines(raw: RawFile | None, slide_map: SlideMap, role: str, target: Path, geojson: Path) -> dict[str, Any]:
    """Write vertices with `he_x` and `he_y`, and the polygons as GeoJSON that QuPath opens; returns their report."""
    what = OF_OUTLINES[role]
    if raw is None:
        nothing = pa.schema({**OUTLINES, X: pa.float32(), Y: pa.float32()})
        pq.write_table(nothing.empty_table(), target, compression=OTHER_PACKING)
        write_detections(geojson, ())
        return {"polygons": 0}
    seen = Seen()
    with arrow_tables.open_table(raw, OUTLINES, boundaries.NEEDED, whole=True) as table:
        _write(target, _mapped(raw.name, table, slide_map, ("vertex_x", "vertex_y"), seen), table, seen, None)
    with boundaries.stream(raw) as outlines:
        write_detections(geojson, _on_slide(outlines, slide_map, what))
    return outlines.report()


@dataclass
class Seen:
    """What has gone through: `rows`, `without_position`, and the box around all positions, um."""

    rows: int = 0
    without_position: int = 0
    low: NDArray[np.float64] = field(default_factory=lambda: np.full(2, np.inf))
    high: NDArray[np.float64] = field(default_factory=lambda: np.full(2, -np.inf))

    def add(self, xy_um: Points) -> None:
        """Count the positions (N, 2) of some rows, NaN where there is none."""
        self.rows += len(xy_um)
        lost = int(np.count_nonzero(~np.isfinite(xy_um.sum(axis=1))))
        self.without_position += lost
        found = xy_um[np.isfinite(xy_um).all(axis=1)] if lost else xy_um
        self.low = np.minimum(self.low, found.min(axis=0, initial=np.inf))
        self.high = np.maximum(self.high, found.max(axis=0, initial=-np.inf))

    def corners_um(self, points: int) -> Points:
        """The outline (4 * (points - 1), 2) of the box, so many points to an edge, clockwise on screen."""
        t = np.linspace(0, 1, points)[:-1]
        left, right = np.zeros_like(t), np.ones_like(t)
        unit = np.concatenate(
            [np.column_stack(edge) for edge in ((t, left), (right, t), (1 - t, right), (left, 1 - t))]
        )
        return np.asarray(self.low + unit * (self.high - self.low), dtype=np.float64)


def _mapped(
    name: str, table: arrow_tables.Table, slide_map: SlideMap, at: tuple[str, str], seen: Seen
) -> Iterator[pa.RecordBatch]:
    """The batches of a table with the columns of this module; bytes become text."""
    ours = [column for column in (X, Y) if column in table.columns]
    if ours:
        raise Refusal(f"{name}: has a column {ours[0]!r} already, so it is not the vendor's own table; give that one")
    with tqdm(total=table.rows, desc=name, unit=" rows", disable=None) as progress:
        for batch in table.batches:
            _refuse_text(name, batch, (*at, "qv"))
            xy_um = np.column_stack([arrow_tables.numbers(batch.column(column)) for column in at])
            seen.add(xy_um)
            _refuse_far(name, seen)
            on_slide = _to_slide(slide_map, xy_um)
            with parsing(name):
                columns = [_plain(column) for column in batch.columns]
            columns += [pa.array(np.ascontiguousarray(on_slide[:, axis]), from_pandas=True) for axis in (0, 1)]
            yield pa.record_batch(columns, names=[*batch.schema.names, X, Y])
            progress.update(len(batch))


def _refuse_text(name: str, batch: pa.RecordBatch, columns: Iterable[str]) -> None:
    """Refuse a table in which what is measured is no number."""
    for one in batch.schema:
        if one.name in columns and not (pa.types.is_integer(one.type) or pa.types.is_floating(one.type)):
            raise Refusal(f"{name}: the column {one.name} holds {one.type}, not numbers; give the vendor's own table")


def _refuse_far(name: str, seen: Seen) -> None:
    """Refuse positions that lie on no slide."""
    furthest = float(np.abs([seen.low, seen.high]).max()) if np.isfinite(seen.low).all() else 0.0
    if furthest > MOST_UM:
        raise Refusal(
            f"{name}: a position is {furthest:,.0f} um from the origin, and no slide is as long; download it again",
            measured=furthest,
            threshold=MOST_UM,
        )


def _to_slide(slide_map: SlideMap, xy_um: Points) -> NDArray[np.float32]:
    """Slide px (N, 2), NaN where there is no position."""
    is_placed = np.isfinite(xy_um).all(axis=1)
    if is_placed.all():
        return slide_map.to_slide(xy_um).astype(np.float32)
    on_slide = np.full(xy_um.shape, np.nan, dtype=np.float32)
    on_slide[is_placed] = slide_map.to_slide(xy_um[is_placed])
    return on_slide


def _plain(column: pa.Array) -> pa.Array:
    """Text as it came, bytes as text; a name is written once, as a dictionary has it."""
    if pa.types.is_dictionary(column.type):
        return pa.DictionaryArray.from_arrays(column.indices, arrow_tables.text(column.dictionary))
    return column


def _write(
    target: Path,
    batches: Iterable[pa.RecordBatch],
    table: arrow_tables.Table,
    seen: Seen,
    slide_map: SlideMap | None,
) -> None:
    """Write batches in groups of `ROWS_IN_GROUP`, however they came; with a map, also what was imaged."""
    packing = table.compression if table.compression in PACKINGS else OTHER_PACKING
    writer: pq.ParquetWriter | None = None
    try:
        for batch in _in_groups(batches):
            if writer is None:
                texts = [one.name for one in batch.schema if pa.types.is_dictionary(one.type) or one.name in CODES]
                # Without Arrow's own schema, text comes back as text and not as the dictionary it was packed by.
                options: dict[str, Any] = {"use_dictionary": texts, "compression": packing, "store_schema": False}
                writer = pq.ParquetWriter(target, batch.schema, **options)
            writer.write_table(batch, row_group_size=ROWS_IN_GROUP)
        if writer is not None and slide_map is not None and np.isfinite(seen.low).all():
            imaged = slide_map.to_slide(seen.corners_um(EDGE_POINTS))
            writer.add_key_value_metadata({METADATA.decode(): json.dumps({IMAGED: np.round(imaged, 3).tolist()})})
    finally:
        if writer is not None:
            writer.close()
    if writer is None:
        kinds = {name: TRANSCRIPTS.get(name, OUTLINES.get(name, pa.string())) for name in table.columns}
        pq.write_table(pa.schema({**kinds, X: pa.float32(), Y: pa.float32()}).empty_table(), target)


def _in_groups(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Tables of `ROWS_IN_GROUP` rows, the last shorter, with one dictionary to a column."""
    waiting: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        start = 0
        while rows + len(batch) - start >= ROWS_IN_GROUP:
            end = start + ROWS_IN_GROUP - rows
            yield pa.Table.from_batches([*waiting, batch.slice(start, end - start)]).unify_dictionaries()
            waiting, rows, start = [], 0, end
        if start < len(batch):
            waiting.append(batch.slice(start))
            rows += len(batch) - start
    if waiting:
        yield pa.Table.from_batches(waiting).unify_dictionaries()


def _round_trip_um(slide_map: SlideMap, seen: Seen) -> NDArray[np.float64]:
    """How far places of the section are, mapped to the slide and back, from where they were, um."""
    axes = [np.linspace(low, high, CHECKED) for low, high in zip(seen.low, seen.high, strict=True)]
    points = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)
    back = slide_map.to_um(slide_map.to_slide(points).astype(np.float32).astype(np.float64))
    return np.asarray(np.linalg.norm(back - points, axis=1), dtype=np.float64)


def _on_slide(
    outlines: boundaries.Outlines, slide_map: SlideMap, what: tuple[str, tuple[int, int, int]]
) -> Iterator[tuple[Any, list[dict[str, Any]]]]:
    """Polygons in slide px and what QuPath is told of each, part by part."""
    kind = {"name": what[0], "color": what[1]}
    for part in outlines:
        properties = [{"cell_id": cell, "classification": kind} for cell in part.cell_id.tolist()]
        yield shapely.transform(part.polygons, slide_map.to_slide), properties
