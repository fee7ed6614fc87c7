"""The table of a slide's nuclei: GeoParquet, and the same outlines as GeoJSON for QuPath.

A row is a nucleus, sorted by y, then x. `geometry` is its outline in slide px (WKB, to a sixteenth of a px), `x_px` and
`y_px` its centroid, `class` the model's name for it; lengths and areas are in um. What made it stands in the table's
metadata under `spotweave`, and in the GeoJSON as a member of that name.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from spotweave.annotations import write_detections
from spotweave.nuclei.morphology import FEATURES, NEIGHBOURHOOD

MADE_BY = "spotweave"  # key of the metadata: JSON
GEO = "geo"  # key of GeoParquet's own
ROWS_IN_GROUP = 1 << 16
COLOURS = {  # as PanNuke's annotators and QuPath's users know them
    "Nucleus": (220, 60, 60),
    "Neoplastic": (255, 0, 0),
    "Inflammatory": (34, 221, 77),
    "Connective": (35, 92, 236),
    "Dead": (254, 255, 0),
    "Epithelial": (255, 159, 68),
}
OTHER_COLOUR = (80, 80, 220)
SCHEMA = pa.schema(
    [
        pa.field("nucleus", pa.int64(), nullable=False),
        pa.field("geometry", pa.binary(), nullable=False),
        pa.field("x_px", pa.float64(), nullable=False),
        pa.field("y_px", pa.float64(), nullable=False),
        pa.field("class", pa.string(), nullable=False),
        pa.field("class_probability", pa.float32(), nullable=False),
        *(pa.field(name, pa.float32(), nullable=False) for name in (*FEATURES, *NEIGHBOURHOOD)),
    ]
)
GEOPARQUET = {
    "version": "1.1.0",
    "primary_column": "geometry",
    # Pixels of the slide: no place on Earth.
    "columns": {"geometry": {"encoding": "WKB", "geometry_types": ["Polygon"], "crs": None}},
}


def colour_of(name: str) -> tuple[int, int, int]:
    """The colour of a class, RGB."""
    return COLOURS.get(name, OTHER_COLOUR)


def write_nuclei(table: Path, geojson: Path, parts: Iterable[pa.Table], made_by: Mapping[str, Any]) -> None:
    """Write both files in one go, part by part.

    Parameters
    ----------
    table, geojson
        Where they go.
    parts
        Tables of `SCHEMA`, in their order.
    made_by
        JSON: `model`, `method`, `um_per_px`, `weights_sha256`, `slide_pixel_size_um`, `classes` and more.
    """
    said = {MADE_BY: json.dumps(made_by, sort_keys=True), GEO: json.dumps(GEOPARQUET)}
    options: dict[str, Any] = {"compression": "zstd", "use_dictionary": ["class"]}
    with pq.ParquetWriter(table, SCHEMA.with_metadata(said), **options) as writer:
        write_detections(geojson, _written(writer, parts), {MADE_BY: made_by})


def _written(writer: pq.ParquetWriter, parts: Iterable[pa.Table]) -> Iterator[tuple[Any, list[dict[str, Any]]]]:
    """Write the table in groups, and pass on outlines with what QuPath is told of them."""
    waiting: list[pa.Table] = []
    rows = 0
    for part in parts:
        waiting.append(part)
        rows += len(part)
        if rows >= ROWS_IN_GROUP:
            writer.write_table(pa.concat_tables(waiting).cast(SCHEMA), row_group_size=rows)
            waiting, rows = [], 0
        yield shapely.from_wkb(part["geometry"].to_numpy()), [_told(*row) for row in zip(*_columns(part), strict=True)]
    if waiting:
        writer.write_table(pa.concat_tables(waiting).cast(SCHEMA), row_group_size=max(rows, 1))


def _columns(part: pa.Table) -> list[list[Any]]:
    return [part[name].to_pylist() for name in ("nucleus", "class", "class_probability")]


def _told(nucleus: int, name: str, probability: float) -> dict[str, Any]:
    said: dict[str, Any] = {"nucleus": nucleus, "classification": {"name": name, "color": colour_of(name)}}
    if not math.isnan(probability):  # the model gives none
        said["class_probability"] = round(probability, 4)
    return said
