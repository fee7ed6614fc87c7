"""Dots of a fiducial frame in a picture: where something round, dark and of a dot's size is, to a fraction of a pixel.

The measure is the Laplacian of a Gaussian as wide as a dot (Lindeberg 1998, Int J Comput Vis 30:79): positive in the
middle of a dark blob, zero on even ground and at straight edges. Its kernel is symmetric, so the peak lies at the
centre of the printed ring whatever its contrast.
"""

from __future__ import annotations

from dataclasses import dataclass

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

    def nearest(self, points: Points, radius_px: float) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Index of the peak next to each of `points` (N, 2), and whether there is one within the radius."""
        if not len(self.xy_px):
            return np.zeros(len(points), dtype=np.intp), np.zeros(len(points), dtype=bool)
        distance, index = cKDTree(self.xy_px).query(points, distance_upper_bound=radius_px)
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
        return round(np.log(pixel_size_um) / np.log(STEP))

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
        level = self._level(pixel_size_um)
        side = 2 * max(round(reach_um / STEP**level), 1) + 1
        if (level, side) not in self._highest:
            disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
            self._highest[level, side] = cv2.dilate(self.response(pixel_size_um), disc).astype(np.float32, copy=False)
        return sample(self._highest[level, side], points)


def sample(field: GreyPicture, points: Points) -> Floats:
    """(N,) values of `field` (H, W) at `points` (N, 2) px from its corner, of the nearest pixel; NaN outside."""
    height, width = field.shape
    column, row = np.floor(points).astype(np.int64).T
    inside = (column >= 0) & (row >= 0) & (column < width) & (row < height)
    values = np.full(len(points), np.nan)
    values[inside] = field[row[inside], column[inside]]
    return values


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
