"""How far counts lie off the picture: the small step at which they go best with its darkness.

Dark tissue holds many cells, so counts follow darkness, and the more so the better one lies on the other. Rival
placements (`agreement`) are whole distances between spots away; a shift of less, as by firmware, shows only here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from spotweave.geometry import Points, apply
from spotweave.ranks import mean_ranks

REACH_UM = 48.0
STEP_UM = 8.0
PLACES_AT_MOST = 40_000
FEWEST = 500
FLAGGED_FROM_UM = 12.0  # registrations of bins are good to a few um; the known shift of firmware is 16
NOISES = 5.0  # standard errors of a rank correlation that the best one must exceed to mean anything


@dataclass(frozen=True)
class Offset:
    """The step, um along the array's (or slide's) x and y, by which counts lie off the picture.

    `rho` as they are, `best_rho` with the step undone (rank correlations of counts and darkness), `noise` the standard
    error of either.
    """

    x_um: float
    y_um: float
    rho: float
    best_rho: float
    noise: float

    @property
    def distance_um(self) -> float:
        """Length of the step."""
        return float(np.hypot(self.x_um, self.y_um))

    @property
    def is_told(self) -> bool:
        """Whether counts go with darkness at all, and better with the step undone than by chance; none at the reach."""
        is_within = max(abs(self.x_um), abs(self.y_um)) < REACH_UM
        return is_within and self.best_rho > NOISES * self.noise and self.best_rho - self.rho > self.noise

    def content(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "counts_offset_um": [round(self.x_um, 1), round(self.y_um, 1)],
            "counts_offset_rho": [round(self.rho, 4), round(self.best_rho, 4)],
            "counts_offset_told": self.is_told,
        }


def measure(
    picture: NDArray[np.uint8],
    scale: tuple[float, float],
    places_um: Points,
    counts: NDArray[np.float64],
    matrix: NDArray[np.float64],
    blur_um: float,
) -> Offset | None:
    """Try all steps of `STEP_UM` up to `REACH_UM` along both axes; None where places are too few or all alike.

    Parameters
    ----------
    picture, scale
        (H, W, 3) uint8 RGB, and how many slide px make one of its px along x and y.
    places_um, counts
        (N, 2) and (N,) of places in tissue.
    matrix
        (3, 3), um -> slide px.
    blur_um
        Size of a place: darkness is averaged over about that.
    """
    known = np.flatnonzero(np.isfinite(counts))
    known = known[:: max(1, -(-len(known) // PLACES_AT_MOST))]
    if len(known) < FEWEST or np.ptp(counts[known]) == 0:
        return None
    per_px_um = float(np.mean(scale)) / float(np.sqrt(abs(np.linalg.det(matrix[:2, :2]))))
    density = -np.log10((picture.astype(np.float32) + 1) / 256).sum(axis=2)
    dark = cv2.GaussianBlur(density, (0, 0), max(blur_um / per_px_um / 4, 0.5))
    ranks = mean_ranks(counts[known])
    ranks = (ranks - ranks.mean()) / ranks.std()
    steps = np.arange(-REACH_UM, REACH_UM + STEP_UM / 2, STEP_UM)
    rho = np.full((len(steps), len(steps)), -1.0)
    for i, y in enumerate(steps):
        for j, x in enumerate(steps):
            # Counts that were moved by a step lie over the picture that is a step back.
            at = apply(matrix, places_um[known] - np.array([x, y])) / np.asarray(scale) - 0.5
            there = mean_ranks(map_coordinates(dark, at[:, ::-1].T, order=1, mode="nearest"))
            spread = there.std()
            if spread > 0:
                rho[i, j] = float((ranks * (there - there.mean())).mean() / spread)
    at_i, at_j = divmod(int(rho.argmax()), len(steps))
    middle = len(steps) // 2
    x_um = steps[at_j] + STEP_UM * _vertex(rho[at_i, :], at_j)
    y_um = steps[at_i] + STEP_UM * _vertex(rho[:, at_j], at_i)
    noise = 1 / float(np.sqrt(len(known)))
    return Offset(float(x_um), float(y_um), float(rho[middle, middle]), float(rho.max()), noise)


def _vertex(values: NDArray[np.float64], at: int) -> float:
    """Where a parabola through a largest value and its neighbours is largest, in steps from it."""
    if not 0 < at < len(values) - 1:
        return 0.0
    before, here, after = values[at - 1 : at + 2]
    bend = before - 2 * here + after
    return 0.0 if bend >= 0 else float((before - after) / (2 * bend))
