"""The slide as a model may look at it before the tiles come."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray

from spotweave.nuclei.tiles import Grid, Windows

BAND_PX = 512
SUBPIXEL_BITS = 4


class SlideOverview:
    """See `nuclei.Overview`. Tiles are those of the grid without an offset, so that it is the same however it is cut.

    Parameters
    ----------
    tissue
        Polygons in slide px.
    """

    def __init__(self, windows: Windows, grid: Grid, tissue: Sequence[shapely.Polygon], pixel_size_um: float) -> None:
        self.windows, self.tissue_px, self.pixel_size_um = windows, list(tissue), pixel_size_um
        self.grid = Grid(grid.step, grid.core_px, grid.margin_px)

    def read(self, um_per_px: float) -> NDArray[np.uint8]:
        """The whole slide, (H, W, 3) RGB, reduced by area; read in bands."""
        height, width = self._shape(um_per_px)
        step = um_per_px / self.pixel_size_um
        out = np.empty((height, width, 3), np.uint8)
        for top in range(0, height, BAND_PX):
            rows = min(BAND_PX, height - top)
            out[top : top + rows] = self.windows.read(0, top, width, rows, step)
        return out

    def tissue(self, um_per_px: float) -> NDArray[np.bool_]:
        """(H, W): which pixels of `read` lie on tissue."""
        shape = self._shape(um_per_px)
        return drawn(self.tissue_px, shape, um_per_px / self.pixel_size_um)

    def sample_tiles(self, count: int) -> list[NDArray[np.uint8]]:
        """Up to `count` tiles as `predict` gets them, spread evenly over those with most tissue in their core."""
        tiles = self.grid.tiles(self.tissue_px)
        side = self.grid.core_px * self.grid.step
        x, y = (np.array([getattr(tile, name) for tile in tiles]) * self.grid.step for name in ("left", "top"))
        shares = _shares(self.tissue_px, x, y, side)
        best = np.flatnonzero(shares >= 0.5 * shares.max(initial=0))
        chosen = best[np.unique(np.linspace(0, len(best) - 1, min(count, len(best))).round().astype(int))]
        read = self.grid.reader(self.windows)
        return [read(tiles[one]) for one in chosen]

    def _shape(self, um_per_px: float) -> tuple[int, int]:
        step = um_per_px / self.pixel_size_um
        return max(1, round(self.windows.height_px / step)), max(1, round(self.windows.width_px / step))


def drawn(polygons: Sequence[shapely.Polygon], shape: tuple[int, int], step: float) -> NDArray[np.bool_]:
    """Polygons in slide px as a mask of px of `step` slide px; what an edge runs through is inside, holes are not."""
    mask = np.zeros(shape, np.uint8)
    for polygon in polygons:
        rings = [polygon.exterior, *polygon.interiors]
        scaled = [np.rint((shapely.get_coordinates(ring) / step - 0.5) * 2**SUBPIXEL_BITS) for ring in rings]
        cv2.fillPoly(mask, [ring.astype(np.int32) for ring in scaled], 1, shift=SUBPIXEL_BITS)
    return mask.astype(bool)


def _shares(
    tissue: Sequence[shapely.Polygon], x: NDArray[np.float64], y: NDArray[np.float64], side: float
) -> NDArray[np.float64]:
    """(n,) how much of the squares with these corners is tissue."""
    boxes = shapely.box(x, y, x + side, y + side)
    square, piece = shapely.STRtree(list(tissue)).query(boxes, predicate="intersects")
    areas = shapely.area(shapely.intersection(boxes[square], np.asarray(tissue, dtype=object)[piece]))
    return np.asarray(np.bincount(square, areas, minlength=len(boxes)) / side**2, dtype=np.float64)
