"""Dots of a fiducial frame in a picture: where something round, dark and of a dot's size is, to a fraction of a pixel.

The measure is the Laplacian of a Gaussian as wide as a dot (Lindeberg 1998, Int J Comput Vis 30:79): positive in the
middle of a dark blob, zero on even ground and at straight edges. Its kernel is symmetric, so the peak lies at the
centre of the printed ring whatever its contrast.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import log

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from spotweave.geometry import Points

Floats = NDArray[np.float64]
GreyPicture = NDArray[np.float32]
# Standard deviation of the Gaussian: a disc of radius r answers most at r / sqrt(2), a thin ring at r; dots are
# between, with r = 30 to 45 um, and their neighbours 150 um away are out of reach.
BLUR_UM = 38.0
STEP = 1.12  # between the widths of Gaussians that are kept
LOG_STEP = log(STEP)
MAPS_AT_ONCE = 32  # as many as keep the places of a frame in the processor's cache


@dataclass(frozen=True)
class Peaks:
    """Local maxima of the response.

    Attributes
    ----------
    xy_px
        (N, 2) float64, from the picture's top-left corner, to a fraction of a pixel.
    response
        (N,) float64, grey levels.
    """

    xy_px: Points
    response: Floats

    @cached_property
    def _tree(self) -> cKDTree:
        return cKDTree(self.xy_px)

    def nearest(self, points: Points, radius_px: float) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Index of the peak next to each of `points` (N, 2), and whether there is one within the radius."""
        if not len(self.xy_px):
            return np.zeros(len(points), dtype=np.intp), np.zeros(len(points), dtype=bool)
        distance, index = self._tree.query(points, distance_upper_bound=radius_px)
        found = np.isfinite(distance)
        return np.where(found, index, 0), found


class Evidence:
    """Responses of a picture to dots, at the pixel sizes that are asked for."""

    def __init__(self, picture: NDArray[np.uint8]) -> None:
        """`picture`: (H, W, 3) uint8 RGB. Red is measured: eosin, and so most of the tissue, hardly shows in it."""
        self.grey: GreyPicture = np.ascontiguousarray(picture[..., 0], dtype=np.float32)
        self._responses: dict[int, GreyPicture] = {}
        self._peaks: dict[int, Peaks] = {}
        self._highest: dict[tuple[int, int], GreyPicture] = {}

    def _level(self, pixel_size_um: float) -> int:
        return round(log(pixel_size_um) / LOG_STEP)

    def response(self, pixel_size_um: float) -> GreyPicture:
        """(H, W) float32 response to dots, in grey levels; the nearest of a row of widths."""
        level = self._level(pixel_size_um)
        if level not in self._responses:
            blur_px = max(BLUR_UM / STEP**level, 0.8)
            smooth = cv2.GaussianBlur(self.grey, (0, 0), blur_px, borderType=cv2.BORDER_REPLICATE)
            self._responses[level] = cv2.Laplacian(smooth, cv2.CV_32F, ksize=1) * np.float32(blur_px**2)
        return self._responses[level]

    def peaks(self, pixel_size_um: float) -> Peaks:
        """Local maxima of the response."""
        level = self._level(pixel_size_um)
        if level not in self._peaks:
            self._peaks[level] = _peaks(self.response(pixel_size_um))
        return self._peaks[level]

    def at(self, points: Points, pixel_size_um: float, reach_um: float) -> Floats:
        """(N,) highest response within `reach_um` of `points` (N, 2) px; NaN outside the picture."""
        return sample(self._highest_near(self._level(pixel_size_um), reach_um), points).astype(np.float64)

    def at_all(self, matrices: Points, places_um: Points, pixel_sizes_um: Floats, reach_um: float) -> GreyPicture:
        """(M, N) float32, `at` of the same places (N, 2) um under many maps (M, 3, 3) um -> px."""
        levels = np.array([self._level(size) for size in pixel_sizes_um.tolist()], dtype=int)
        values = np.empty((len(matrices), len(places_um)), dtype=np.float32)
        for level in np.unique(levels).tolist():
            field, of_level = self._highest_near(level, reach_um), np.flatnonzero(levels == level)
            for start in range(0, len(of_level), MAPS_AT_ONCE):
                some = of_level[start : start + MAPS_AT_ONCE]
                points = places_um @ matrices[some, :2, :2].transpose(0, 2, 1) + matrices[some, None, :2, 2]
                values[some] = sample(field, points)
        return values

    def _highest_near(self, level: int, reach_um: float) -> GreyPicture:
        """(H + 2, W + 2) float32, the highest response within reach of each pixel; around them a pixel of NaN."""
        side = 2 * max(round(reach_um / STEP**level), 1) + 1
        if (level, side) not in self._highest:
            disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
            highest = np.full((self.grey.shape[0] + 2, self.grey.shape[1] + 2), np.nan, dtype=np.float32)
            highest[1:-1, 1:-1] = cv2.dilate(self.response(STEP**level), disc)
            self._highest[level, side] = highest
        return self._highest[level, side]


def sample(field: GreyPicture, points: Points) -> GreyPicture:
    """Values of a picture with one pixel around it, `field` (H + 2, W + 2), at `points` (..., 2) px from its corner.

    Those of the nearest pixel; outside, what is around it.
    """
    height, width = field.shape
    within = np.clip(points, (-1, -1), (width - 2, height - 2))
    within += 1
    column, row = within[..., 0].astype(np.intp), within[..., 1].astype(np.intp)
    row *= width
    row += column
    return np.asarray(field.ravel()[row])


def _peaks(field: GreyPicture) -> Peaks:
    """Pixels above their eight neighbours, moved to the top of the parabola through them."""
    highest = cv2.dilate(field, np.ones((3, 3), dtype=np.uint8))
    inner = np.zeros(field.shape, dtype=bool)
    inner[1:-1, 1:-1] = True
    row, column = np.nonzero((field == highest) & (field > 0) & inner)
    if not len(row):
        return Peaks(np.empty((0, 2)), np.empty(0))
    around = {(dy, dx): field[row + dy, column + dx].astype(np.float64) for dy in (-1, 0, 1) for dx in (-1, 0, 1)}
    centre = around[0, 0]
    slope_x, slope_y = (around[0, 1] - around[0, -1]) / 2, (around[1, 0] - around[-1, 0]) / 2
    bend_x, bend_y = around[0, 1] - 2 * centre + around[0, -1], around[1, 0] - 2 * centre + around[-1, 0]
    twist = (around[1, 1] - around[-1, 1] - around[1, -1] + around[-1, -1]) / 4
    determinant = bend_x * bend_y - twist**2
    round_top = determinant > 1e-12
    safe = np.where(round_top, determinant, 1.0)
    dx = np.where(round_top, (twist * slope_y - bend_y * slope_x) / safe, 0.0)
    dy = np.where(round_top, (twist * slope_x - bend_x * slope_y) / safe, 0.0)
    xy_px = np.column_stack([column + 0.5 + np.clip(dx, -0.75, 0.75), row + 0.5 + np.clip(dy, -0.75, 0.75)])
    return Peaks(xy_px, centre)
