"""Random access to the levels of a pyramidal TIFF."""

from __future__ import annotations

import math
import os
import weakref
from pathlib import Path

import numpy as np
import tifffile

from spotweave.slide.tiles import Pixels, Tiles

PAD_VALUE = 255


class Pyramid:
    """A slide's levels, each read in blocks.

    Attributes
    ----------
    width_px, height_px
        Of level 0.
    downsamples
        Level-0 px per px of each level.
    levels
        The tiles of each level.
    """

    def __init__(self, path: Path) -> None:
        with tifffile.TiffFile(path, is_ome=False) as tiff:
            self.levels = [Tiles(path, page.aspage()) for page in tiff.pages]
        self.file = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self.file)
        first = self.levels[0]
        self.width_px, self.height_px = first.width_px, first.height_px
        self.downsamples = [_downsample(first, level) for level in self.levels]
        self.memory: Pixels = np.empty(0, np.uint8)

    def level_for(self, reduction: float) -> int:
        """The coarsest level that still has at least the resolution asked for (never one that must be enlarged)."""
        usable = [index for index, factor in enumerate(self.downsamples) if factor <= reduction * 1.001]
        return max(usable, default=0)

    def keep(self, level: int, width_px: int, height_px: int) -> None:
        """Keep as many tiles decoded as blocks of this size need, read by row of tiles and from the left."""
        self.levels[level].keep(width_px, height_px)

    def read(self, level: int, left: int, top: int, width: int, height: int) -> Pixels:
        """(height, width, 3) uint8; what lies beyond the slide is white."""
        return self.view(level, left, top, width, height).copy()

    def view(self, level: int, left: int, top: int, width: int, height: int) -> Pixels:
        """As `read`, in memory of the slide's own, where it stands until the next call: not to be written to."""
        tiles = self.levels[level]
        tile_width, tile_height = tiles.tile_px
        x0, y0 = max(left, 0), max(top, 0)
        x1, y1 = min(left + width, tiles.width_px), min(top + height, tiles.height_px)
        is_whole = x1 - x0 == width and y1 - y0 == height
        column, row = x0 // tile_width, y0 // tile_height
        if is_whole and x1 <= (column + 1) * tile_width and y1 <= (row + 1) * tile_height:
            x, y = x0 - column * tile_width, y0 - row * tile_height
            return tiles.tile(self.file, column, row)[y : y + height, x : x + width]
        out = self._block(height, width)
        if not is_whole:
            out[:] = PAD_VALUE
        if x0 >= x1 or y0 >= y1:
            return out
        for row in range(y0 // tile_height, -(-y1 // tile_height)):
            upper, lower = max(y0, row * tile_height), min(y1, (row + 1) * tile_height)
            for column in range(x0 // tile_width, -(-x1 // tile_width)):
                tile = tiles.tile(self.file, column, row)
                near, far = max(x0, column * tile_width), min(x1, (column + 1) * tile_width)
                out[upper - top : lower - top, near - left : far - left] = tile[
                    upper - row * tile_height : lower - row * tile_height,
                    near - column * tile_width : far - column * tile_width,
                ]
        return out

    def _block(self, height: int, width: int) -> Pixels:
        count = height * width * 3
        if self.memory.size < count:
            self.memory = np.empty(count, np.uint8)
        return self.memory[:count].reshape(height, width, 3)


def _downsample(first: Tiles, level: Tiles) -> float:
    """Level-0 px per px. Where sides were halved the last odd row or column fell away: the rest is halved exactly."""
    halved = round(math.log2(first.width_px / level.width_px))
    if (level.width_px, level.height_px) == (first.width_px >> halved, first.height_px >> halved):
        return float(2**halved)
    return float(first.width_px / level.width_px)
