"""Tissue masks as polygons with holes: traced, simplified, written as the GeoJSON that QuPath opens, rasterised again.

Polygons are in level-0 px of the slide: x right, y down, origin at the top-left corner of the top-left pixel.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import mapping
from skimage import draw, measure

from spotweave.errors import Refusal
from spotweave.io import write_json

DECIMALS = 2
QUPATH_COLOUR = [0, 160, 0]
MARK_COLOURS = {
    "pen": [0, 0, 255],
    "painted": [60, 60, 60],
    "fold": [255, 140, 0],
    "blur": [200, 0, 200],
    "fiducials": [0, 200, 200],
}
"""Kinds of marks, and the colour of each in QuPath and on the overlay."""


def from_mask(
    mask: NDArray[np.bool_],
    scale: tuple[float, float],
    *,
    simplify_px: float = 0.0,
    min_hole_px2: float = 0.0,
    min_piece_px2: float = 0.0,
) -> list[shapely.Polygon]:
    """Trace a mask, the largest piece first.

    Parameters
    ----------
    mask
        (H, W) bool.
    scale
        Level-0 px per mask px, along x and along y.
    simplify_px
        No point of the outline moves by more than this (Douglas & Peucker 1973), level-0 px.
    min_hole_px2, min_piece_px2
        Smaller holes are filled and smaller pieces dropped, level-0 px2.
    """
    rings = []
    # The zeros around the mask close outlines at its border; array index 0 is then the centre of the pixel at -0.5 px.
    for rows_columns in measure.find_contours(np.pad(mask, 1).astype(np.float32), 0.5):
        rings.append(shapely.LineString((rows_columns[:, ::-1] - 0.5) * scale))
    if not rings:
        return []
    area = shapely.build_area(shapely.MultiLineString(rings))
    outlines = [_without_small_holes(piece, min_hole_px2) for piece in _pieces(area) if piece.area >= min_piece_px2]
    simple = shapely.make_valid(shapely.simplify(shapely.MultiPolygon(outlines), simplify_px, preserve_topology=True))
    rounded = shapely.set_precision(simple, 10.0**-DECIMALS)
    kept = [shapely.normalize(piece) for piece in _pieces(rounded) if piece.area >= min_piece_px2]
    return sorted(kept, key=lambda piece: (-piece.area, piece.bounds))


def to_mask(
    polygons: Sequence[shapely.Polygon], shape: tuple[int, int], scale: tuple[float, float]
) -> NDArray[np.bool_]:
    """Rasterise polygons: (H, W) bool, True where the centre of a pixel is inside. `scale` as in `from_mask`."""
    mask = np.zeros(shape, bool)
    for polygon in polygons:
        piece = _ring_mask(polygon.exterior, shape, scale)
        for hole in polygon.interiors:
            piece &= ~_ring_mask(hole, shape, scale)
        mask |= piece
    return mask


def write_geojson(path: Path, polygons: Sequence[shapely.Polygon], pixel_size_um: float) -> None:
    """Write a FeatureCollection with one annotation a piece: `tissue_id` (from 0), `area_um2`, `area_mm2`.

    QuPath shows `measurements` in its tables.
    """
    features = [
        {
            "type": "Feature",
            "geometry": mapping(polygon),
            "properties": {
                "objectType": "annotation",
                "name": f"tissue {number}",
                "classification": {"name": "Tissue", "color": QUPATH_COLOUR},
                "tissue_id": number,
                "area_um2": round(polygon.area * pixel_size_um**2, 1),
                "area_mm2": _mm2(polygon, pixel_size_um),
                "measurements": {"Area mm^2": _mm2(polygon, pixel_size_um)},
            },
        }
        for number, polygon in enumerate(polygons)
    ]
    write_json(path, {"type": "FeatureCollection", "features": features})


def write_marks(path: Path, marks: Mapping[str, Sequence[shapely.Polygon]], pixel_size_um: float) -> None:
    """Write a FeatureCollection of what lies on a slide: one annotation a polygon, properties `kind` and `area_mm2`."""
    features = [
        {
            "type": "Feature",
            "geometry": mapping(polygon),
            "properties": {
                "objectType": "annotation",
                "name": kind,
                "classification": {"name": kind, "color": MARK_COLOURS[kind]},
                "kind": kind,
                "area_mm2": _mm2(polygon, pixel_size_um),
                "measurements": {"Area mm^2": _mm2(polygon, pixel_size_um)},
            },
        }
        for kind in MARK_COLOURS
        for polygon in marks.get(kind, ())
    ]
    write_json(path, {"type": "FeatureCollection", "features": features})


def read_geojson(path: Path) -> list[shapely.Polygon]:
    """Read the polygons of a GeoJSON FeatureCollection, multi-polygons taken apart, in the order of the file.

    Outlines that cross themselves, as edited by hand, are taken apart where they do.

    Raises
    ------
    Refusal
        If the file is no FeatureCollection of polygons.
    """
    try:
        features = json.loads(path.read_text(encoding="utf-8"))["features"]
        geometries = [shapely.from_geojson(json.dumps(feature["geometry"])) for feature in features]
    except (KeyError, TypeError, ValueError, shapely.errors.GEOSException) as error:
        raise Refusal(f"{path.name} is not a GeoJSON FeatureCollection ({error}); export it again") from error
    others = sorted({geometry.geom_type for geometry in geometries} - {"Polygon", "MultiPolygon"})
    if others:
        raise Refusal(f"{path.name} holds {', '.join(others)}; only polygons can be tissue", measured=len(others))
    return [piece for geometry in geometries for piece in _pieces(shapely.make_valid(geometry))]


def _mm2(polygon: shapely.Polygon, pixel_size_um: float) -> float:
    return round(polygon.area * pixel_size_um**2 / 1e6, 6)


def _pieces(geometry: Any) -> list[shapely.Polygon]:
    """The polygons of any geometry; lines and points that `make_valid` may leave behind have no area."""
    parts = [shapely.get_parts(part) for part in shapely.get_parts(geometry)]
    flat = [polygon for part in parts for polygon in part]
    return [part for part in flat if part.geom_type == "Polygon" and not part.is_empty]


def _without_small_holes(polygon: shapely.Polygon, min_hole_px2: float) -> shapely.Polygon:
    holes = [ring for ring in polygon.interiors if shapely.Polygon(ring).area >= min_hole_px2]
    return shapely.Polygon(polygon.exterior, holes)


def _ring_mask(ring: Any, shape: tuple[int, int], scale: tuple[float, float]) -> NDArray[np.bool_]:
    columns_rows = np.asarray(ring.coords)[:, :2] / scale - 0.5
    mask = np.zeros(shape, bool)
    mask[draw.polygon(columns_rows[:, 1], columns_rows[:, 0], shape)] = True
    return mask
