"""Random access to the levels of a pyramidal TIFF."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyvips
from numpy.typing import NDArray

PAD_VALUE = 255
# Rows of tiles that libvips keeps decoded for a tiled TIFF: blocks that reach over no more are decoded once.
ROWS_KEPT = 2


class Pyramid:
    """A slide's levels, each read in blocks.

    Attributes
    ----------
    width_px, height_px
        Of level 0.
    downsamples
        Level-0 px per px of each level.
    tiles_px
        Height of the tiles of each level.
    """

    def __init__(self, path: Path) -> None:
        first = pyvips.Image.tiffload(str(path))
        pages = first.get("n-pages")
        self.levels = [first, *(pyvips.Image.tiffload(str(path), page=page) for page in range(1, pages))]
        self.regions = [pyvips.Region.new(level) for level in self.levels]
        self.width_px, self.height_px = first.width, first.height
        self.downsamples = [_downsample(first, level) for level in self.levels]
        self.tiles_px = [_tile_height(level) for level in self.levels]

    def level_for(self, reduction: float) -> int:
        """The coarsest level that still has at least the resolution asked for (never one that must be enlarged)."""
        usable = [index for index, factor in enumerate(self.downsamples) if factor <= reduction * 1.001]
        return max(usable, default=0)

    def keep_rows(self, level: int, height_px: int) -> None:
        """Keep as many rows of tiles decoded as a block of this height can reach over."""
        image, side = self.levels[level], self.tiles_px[level]
        rows = math.ceil(height_px / side) + 1
        if rows > ROWS_KEPT:
            kept = rows * math.ceil(image.width / side + 1)
            cached = image.tilecache(tile_width=side, tile_height=side, max_tiles=kept, access="random")
            self.regions[level] = pyvips.Region.new(cached)

    def read(self, level: int, left: int, top: int, width: int, height: int) -> NDArray[np.uint8]:
        """(height, width, 3) uint8; what lies beyond the slide is white."""
        image = self.levels[level]
        x0, y0 = max(left, 0), max(top, 0)
        x1, y1 = min(left + width, image.width), min(top + height, image.height)
        if (x1 - x0, y1 - y0) == (width, height):
            return self._fetch(level, x0, y0, x1, y1)
        out = np.full((height, width, 3), PAD_VALUE, dtype=np.uint8)
        if x0 < x1 and y0 < y1:
            out[y0 - top : y1 - top, x0 - left : x1 - left] = self._fetch(level, x0, y0, x1, y1)
        return out

    def _fetch(self, level: int, x0: int, y0: int, x1: int, y1: int) -> NDArray[np.uint8]:
        pixels = self.regions[level].fetch(x0, y0, x1 - x0, y1 - y0)
        return np.frombuffer(pixels, dtype=np.uint8).reshape(y1 - y0, x1 - x0, 3)


def _downsample(first: Any, level: Any) -> float:
    """Level-0 px per px. Where sides were halved the last odd row or column fell away: the rest is halved exactly."""
    halved = round(math.log2(first.width / level.width))
    if (level.width, level.height) == (first.width >> halved, first.height >> halved):
        return float(2**halved)
    return float(first.width / level.width)


def _tile_height(image: Any) -> int:
    height = image.get("tile-height") if "tile-height" in image.get_fields() else image.height
    return int(height)
