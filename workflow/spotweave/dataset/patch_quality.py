"""How good a patch is to look at: tissue, pen, folds, blur and focus, and one number of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from spotweave.errors import Refusal
from spotweave.tissue.polygons import read_geojson

# Kinds of marks that spoil a patch, and the dataset that holds the share of each.
MARKS = {"pen": "pen_share", "fold": "fold_share", "blur": "blur_share"}
# Focus (radians per um) from which a patch counts as sharp, and at which nothing is left of it: edges blurred by a
# Gaussian of .8 and of 2 um.
SHARP, BLURRED = 0.85, 0.35
# Polygons are taken apart until a piece has no more corners than this: every square is then held against few.
CORNERS_MAX = 200

Column = NDArray[np.float32]


def columns(
    squares_px: NDArray[np.float64], tissue: Path, marks: Path, focus: NDArray[np.float64]
) -> dict[str, Column]:
    """The quality datasets of a file of patches, (N,) float32 each.

    Parameters
    ----------
    squares_px
        (N, 4) left, top, right, bottom of each patch in slide px.
    tissue, marks
        `tissue.geojson` and `tissue_marks.geojson`.
    focus
        (N,) of `slide.sharpness.focus`.

    Returns
    -------
    dict
        `focus`; `tissue_share`, `pen_share`, `fold_share`, `blur_share`: share of the square's area that lies in the
        polygons; `quality` from 0 to 1: `tissue_share (1 - pen_share) (1 - fold_share) (1 - blur_share) sharp`, where
        `sharp` rises linearly from 0 at `BLURRED` to 1 at `SHARP`.
    """
    squares = shapely.box(*squares_px.T) if len(squares_px) else np.empty(0, object)
    found = {"focus": focus, "tissue_share": covered(squares, read_geojson(tissue))}
    of_kind = read_marks(marks)
    for kind, name in MARKS.items():
        found[name] = covered(squares, of_kind.get(kind, []))
    clear = np.prod([1 - found[name] for name in MARKS.values()], axis=0)
    found["quality"] = found["tissue_share"] * clear * np.clip((focus - BLURRED) / (SHARP - BLURRED), 0, 1)
    return {name: values.astype(np.float32) for name, values in found.items()}


def measures(quality: Mapping[str, Column], flag: float) -> dict[str, Any]:
    """Measures of the record: medians, and the share of patches with less quality than `flag`."""
    if not len(quality["quality"]):
        return {"quality_median": None, "focus_median": None, "low_quality_share": None}
    return {
        "quality_median": round(float(np.median(quality["quality"])), 4),
        "focus_median": round(float(np.median(quality["focus"])), 4),
        "low_quality_share": round(float((quality["quality"] < flag).mean()), 4),
        **{f"{kind}_patches_share": round(float((quality[name] > 0).mean()), 4) for kind, name in MARKS.items()},
    }


def read_marks(path: Path) -> dict[str, list[shapely.Polygon]]:
    """Polygons of `tissue_marks.geojson` by their kind.

    Raises
    ------
    Refusal
        If a feature is no polygon or does not say its kind.
    """
    found: dict[str, list[shapely.Polygon]] = {}
    try:
        for feature in json.loads(path.read_text(encoding="utf-8"))["features"]:
            geometry = shapely.from_geojson(json.dumps(feature["geometry"]))
            found.setdefault(feature["properties"]["kind"], []).extend(shapely.get_parts(geometry))
    except (KeyError, TypeError, ValueError, shapely.errors.GEOSException) as error:
        raise Refusal(f"{path.name} is no collection of marks with their kind ({error}); segment it again") from error
    return found


def covered(squares: NDArray[Any], polygons: Sequence[shapely.Polygon]) -> NDArray[np.float64]:
    """Share of each square's area that lies in the union of the polygons, exactly."""
    shares = np.zeros(len(squares))
    if not len(squares) or not len(polygons):
        return shares
    pieces = np.array(_small_pieces(shapely.union_all(list(polygons))), dtype=object)
    square, piece = shapely.STRtree(pieces).query(squares)
    inside = shapely.area(shapely.intersection(squares[square], pieces[piece]))
    np.add.at(shares, square, inside)
    return np.clip(shares / shapely.area(squares), 0, 1)


def _small_pieces(polygon: Any) -> list[Any]:
    """The same area as pieces with few corners, cut along the middle of their longer sides."""
    pieces, left = [], list(shapely.get_parts(polygon))
    while left:
        part = left.pop()
        if shapely.get_num_coordinates(part) <= CORNERS_MAX:
            pieces.append(part)
            continue
        x0, y0, x1, y1 = part.bounds
        middle_x, middle_y = (x0 + x1) / 2, (y0 + y1) / 2
        halves = (
            [(x0, y0, middle_x, y1), (middle_x, y0, x1, y1)]
            if x1 - x0 > y1 - y0
            else [(x0, y0, x1, middle_y), (x0, middle_y, x1, y1)]
        )
        for half in halves:
            cut = shapely.intersection(part, shapely.box(*half))
            left += [piece for piece in shapely.get_parts(cut) if piece.area > 0]
    return pieces
