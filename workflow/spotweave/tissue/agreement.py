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

QUADRANT_SEGMENTS = 16


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
    (N,) float64 in [0, 1], NaN for a spot without a position.
    """
    centres = np.column_stack([x_px, y_px]).astype(np.float64)
    known = np.isfinite(centres).all(axis=1)
    area = shapely.union_all(list(polygons))
    shapely.prepare(area)
    fraction = np.full(len(centres), np.nan)
    if diameter_px > 0:
        discs = shapely.buffer(shapely.points(centres[known]), diameter_px / 2, quad_segs=QUADRANT_SEGMENTS)
        fraction[known] = shapely.area(shapely.intersection(discs, area)) / shapely.area(discs)
    else:
        fraction[known] = shapely.contains_xy(area, centres[known])
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
