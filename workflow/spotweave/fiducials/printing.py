"""Where the dots of 6.5 mm frames are printed: off their lattice by up to 15 um, and alike on the slides measured.

`resources/fiducial_print.csv` holds the displacement of every dot, averaged over public frames. How it was measured,
and what it gains on frames it was not measured on, is told in docs/fiducials.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spotweave.geometry import Points
from spotweave.visium.array import GAP_COLUMN, CaptureArea, capture_area

READS = ("resources/fiducial_print.csv",)
TABLE = Path(__file__).resolve().parents[3] / "resources/fiducial_print.csv"
PRINTED = "6.5 mm"  # the only capture area whose print was measured
# Frames of other areas of the slide share most of the displacements: they count this much beside one's own. Chosen
# by leaving out each of six frames.
OTHER_AREA_WEIGHT = 0.35
FARTHEST_UM = 10.0  # from the median of all frames; farther dots were mistaken for something else


def displacement_um(area: CaptureArea, letter: str | None, table: Path = TABLE) -> Points:
    """(N, 2) float64 um, printed less ideal place of each of `area.dots_um`; zeros where none was measured."""
    if area.name != PRINTED:
        return np.zeros_like(area.dots_um)
    return _read(table)[letter or ""]


@lru_cache(maxsize=2)
def _read(path: Path) -> dict[str, Points]:
    area = capture_area(PRINTED)
    frame = pd.read_csv(path, keep_default_na=False)
    order = {(round(x, 1), round(y, 1)): k for k, (x, y) in enumerate(area.dots_um)}
    displacements = {}
    for letter, rows in frame.groupby("area"):
        at = [order[round(x, 1), round(y, 1)] for x, y in zip(rows["x_um"], rows["y_um"], strict=True)]
        displacement = np.zeros_like(area.dots_um)
        displacement[at] = rows[["dx_um", "dy_um"]]
        displacements[str(letter)] = displacement
    return displacements


def residuals_of(dots_um: Points, residual_um: Points) -> Points:
    """(N, 2) residuals of all of `dots_um` of the 6.5 mm area, from those of the dots of a fit; NaN for the others."""
    area = capture_area(PRINTED)
    order = {(round(x, 1), round(y, 1)): k for k, (x, y) in enumerate(area.dots_um)}
    residuals = np.full_like(area.dots_um, np.nan)
    residuals[[order[round(x, 1), round(y, 1)] for x, y in dots_um]] = residual_um
    return residuals


def average(residuals_um: Sequence[Points], letters: Sequence[str]) -> dict[str, Points]:
    """The mean print of frames.

    Parameters
    ----------
    residuals_um
        Per frame (N, 2), measured less ideal place of each of `dots_um` of the 6.5 mm area; NaN where no dot was found.
    letters
        The frames' capture areas.

    Returns
    -------
    dict
        For A1 to D1, and "" for frames whose area is not known: (N, 2) um, 0 where no frame shows the dot.
    """
    stack = np.array(residuals_um)
    seen = np.isfinite(stack).all(axis=2).any(axis=0)
    middle = np.zeros(stack.shape[1:])
    middle[seen] = np.nanmedian(stack[:, seen], axis=0)
    away = np.linalg.norm(stack - middle, axis=2)
    usable = np.isfinite(away) & (away <= FARTHEST_UM)
    prints = {}
    for letter in ("", *GAP_COLUMN):
        weights: NDArray[np.float64] = np.array([1.0 if own == letter else OTHER_AREA_WEIGHT for own in letters])
        share = weights[:, None] * usable
        total = share.sum(axis=0)
        mean = (np.nan_to_num(stack) * share[..., None]).sum(axis=0) / np.maximum(total, 1e-9)[:, None]
        prints[letter] = np.where(total[:, None] > 0, mean, 0.0)
    return prints


def to_table(prints: dict[str, Points]) -> pd.DataFrame:
    """The rows of `resources/fiducial_print.csv`."""
    area = capture_area(PRINTED)
    parts = [
        pd.DataFrame(
            {
                "area": letter,
                "x_um": area.dots_um[:, 0],
                "y_um": area.dots_um[:, 1],
                "dx_um": displacement[:, 0].round(1) + 0.0,
                "dy_um": displacement[:, 1].round(1) + 0.0,
            }
        )
        for letter, displacement in sorted(prints.items())
    ]
    return pd.concat(parts, ignore_index=True)
