"""How well the tissue found on the picture agrees with the spots the vendor, or a person, put under tissue.

The two may differ and both be right: a spot counts as covered for many people when its disc touches tissue, while its
centre lies outside. Therefore both are measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

RINGS = 4


def tissue_fraction(
    polygons: Sequence[shapely.Polygon], x_px: NDArray[Any], y_px: NDArray[Any], diameter_px: float
) -> NDArray[np.float64]:
    """Share of each spot's disc that is tissue.

    Parameters
    ----------
    polygons
        Tissue, level-0 px.
    x_px, y_px
        (N,) centres of the spots, level-0 px; NaN for a spot without a position.
    diameter_px
        Diameter of a spot; 0 asks for the centres only.

    Returns
    -------
    (N,) float64 in [0, 1], NaN for a spot without a position. Estimated from 81 points that stand for equal parts
    of the disc, so in steps of about 0.01.
    """
    centres = np.column_stack([x_px, y_px]).astype(np.float64)
    known = np.isfinite(centres).all(axis=1)
    offsets = _disc_points() * diameter_px / 2 if diameter_px > 0 else np.zeros((1, 2))
    points = centres[known][:, None, :] + offsets
    inside = np.zeros(points.shape[:2], bool)
    for polygon in polygons:
        shapely.prepare(polygon)
        inside |= shapely.contains_xy(polygon, points[..., 0], points[..., 1])
    fraction = np.full(len(centres), np.nan)
    fraction[known] = inside.mean(axis=1)
    return fraction


def against_spots(
    polygons: Sequence[shapely.Polygon],
    x_px: NDArray[Any],
    y_px: NDArray[Any],
    in_tissue: NDArray[Any],
    diameter_px: float,
) -> dict[str, float | int | None]:
    """Agreement of tissue polygons with `in_tissue` (N,) 0/1 of the spots at `x_px`, `y_px` (level-0 px).

    Returns
    -------
    `spots_selected_inside`, `spots_unselected_outside`: share of the selected spots whose centre is tissue, and of
    the others whose centre is not; `spots_selected_touching`, `spots_unselected_untouched`: the same for
    the whole disc, which touches tissue or does not. None where there is no such spot. Beside them the numbers of
    spots: `spots_selected`, `spots_unselected`, `spots_without_position` (left out of all shares).
    """
    centre = tissue_fraction(polygons, x_px, y_px, 0.0)
    disc = tissue_fraction(polygons, x_px, y_px, diameter_px)
    known = np.isfinite(centre)
    selected = known & (np.asarray(in_tissue) == 1)
    unselected = known & ~selected
    return {
        "spots_selected": int(selected.sum()),
        "spots_unselected": int(unselected.sum()),
        "spots_without_position": int((~known).sum()),
        "spots_selected_inside": _share(centre[selected] > 0),
        "spots_selected_touching": _share(disc[selected] > 0),
        "spots_unselected_outside": _share(centre[unselected] == 0),
        "spots_unselected_untouched": _share(disc[unselected] == 0),
    }


def _share(hits: NDArray[np.bool_]) -> float | None:
    return round(float(hits.mean()), 4) if hits.size else None


def _disc_points() -> NDArray[np.float64]:
    """(81, 2) points of the unit disc, one for each part of equal area.

    The centre stands for a disc of radius 1/9, ring k (k = 1..4) at radius 2k/9 for a band of width 2/9; their areas
    are as 1 to 8k, hence 8k points on ring k.
    """
    points = [np.zeros((1, 2))]
    for ring in range(1, RINGS + 1):
        angles = 2 * np.pi * np.arange(8 * ring) / (8 * ring)
        points.append(2 * ring / 9 * np.column_stack([np.cos(angles), np.sin(angles)]))
    return np.concatenate(points)
