"""Outlines as the GeoJSON that QuPath opens, written one after the other: memory does not grow with their number."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import shapely

DECIMALS = 2


def write_detections(
    path: Path, parts: Iterable[tuple[Any, Iterable[Mapping[str, Any]]]], members: Mapping[str, Any] | None = None
) -> None:
    """Write a FeatureCollection, a feature a line, coordinates to a hundredth of a px.

    Parameters
    ----------
    parts
        Arrays of shapely polygons (slide px), with the properties of each polygon; QuPath takes `classification`
        ({"name", "color"}) and `name`.
    members
        Further members of the collection, which readers of GeoJSON leave alone.
    """
    head = "".join(
        f" {json.dumps(name)}: {json.dumps(value, sort_keys=True)}," for name, value in (members or {}).items()
    )
    with open(path, "w", encoding="utf-8", newline="\n") as handle:
        handle.write(f'{{"type": "FeatureCollection",{head} "features": [')
        separator = "\n"
        for polygons, properties in parts:
            rounded = shapely.transform(np.asarray(polygons, dtype=object), _rounded)
            for geometry, own in zip(shapely.to_geojson(rounded), properties, strict=True):
                said = json.dumps({"objectType": "detection", **own})
                handle.write(f'{separator}{{"type": "Feature", "geometry": {geometry}, "properties": {said}}}')
                separator = ",\n"
        handle.write("\n]}\n")


def _rounded(xy: np.ndarray) -> np.ndarray:
    return np.round(xy, DECIMALS)
