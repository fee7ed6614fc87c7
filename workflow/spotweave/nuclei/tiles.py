"""A slide in the pixels of a model: windows of any place, resampled, and the tiles that cover its tissue.

A model's pixel (i, j) covers the slide from (i, j) * step to (i + 1, j + 1) * step px, wherever the window lies that it
is read in, and its value does not depend on the window: what is found does not depend on how the slide is cut.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import sparse

from spotweave.slide.levels import Pyramid

if TYPE_CHECKING:
    from spotweave.nuclei import Model

CUBIC = -0.5  # of the family of Keys (1981): the one that is exact for squares
MOST_ENLARGED = 2.1  # twice, and what measured pixel sizes differ from nominal ones
WHOLE = 0.01  # levels are halves of halves, less a remainder of the border


def step_for(model: Model, slide_um_per_px: float) -> float:
    """Slide px per px of the model: 1 where the slide's pixels are of a size that the model takes as they are."""
    low, high = model.native_um_per_px
    return 1.0 if low <= slide_um_per_px <= high else model.um_per_px / slide_um_per_px


class Windows:
    """Windows of a slide at any step.

    Parameters
    ----------
    path
        A pyramidal TIFF.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.pyramid = path, Pyramid(path)
        self.width_px, self.height_px = self.pyramid.width_px, self.pyramid.height_px
        self.factors = [_whole(factor) for factor in self.pyramid.downsamples]

    def read(self, left: int, top: int, width: int, height: int, step: float) -> NDArray[np.uint8]:
        """(height, width, 3) RGB of a window given in px of `step` slide px; white beyond the slide.

        By area where it is reduced, from the coarsest level that need not be enlarged; bicubic where it is enlarged.
        """
        factor = max((one for one in self.factors if one <= step * (1 + 1e-6)), default=self.factors[0])
        level, inner = self.factors.index(factor), step / factor
        if inner == 1:
            return self.pyramid.read(level, left, top, width, height)
        x0, across = _weights(left, width, inner)
        y0, down = _weights(top, height, inner)
        block = self.pyramid.read(level, x0, y0, across.shape[1], down.shape[1])
        rows = down @ block.reshape(down.shape[1], -1).astype(np.float32)
        columns = rows.reshape(height, across.shape[1], 3).transpose(1, 0, 2).reshape(across.shape[1], -1)
        out = (across @ columns).reshape(width, height, 3).transpose(1, 0, 2)
        return np.ascontiguousarray(np.clip(np.rint(out), 0, 255).astype(np.uint8))


def _whole(factor: float) -> float:
    near = round(factor)
    return float(near) if abs(factor - near) <= WHOLE * factor else factor


def _weights(start: int, count: int, step: float) -> tuple[int, sparse.csr_array]:
    """First px read, and (count, px read) float32: how much each of them counts for px `start` to `start + count`.

    Each row depends on its own place alone, and adds to 1.
    """
    places = start + np.arange(count)
    if step > 1:  # the part of each px that is covered
        low, high = places * step, (places + 1) * step
        first = np.floor(low).astype(np.int64)
        taps = first[:, None] + np.arange(int(np.ceil(step)) + 2)
        weights = np.clip(np.minimum(taps + 1, high[:, None]) - np.maximum(taps, low[:, None]), 0, None)
    else:  # pixel centres lie at a half
        at = (places + 0.5) * step - 0.5
        first = np.floor(at).astype(np.int64) - 1
        taps = first[:, None] + np.arange(4)
        weights = _keys(np.abs(taps - at[:, None]))
    weights /= weights.sum(axis=1, keepdims=True)
    begin = int(taps.min())
    rows = np.repeat(np.arange(count), taps.shape[1])
    shape = (count, int(taps.max()) + 1 - begin)
    found = sparse.csr_array((weights.ravel().astype(np.float32), (rows, (taps - begin).ravel())), shape=shape)
    return begin, found


def _keys(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    near = (CUBIC + 2) * distance**3 - (CUBIC + 3) * distance**2 + 1
    far = CUBIC * distance**3 - 5 * CUBIC * distance**2 + 8 * CUBIC * distance - 4 * CUBIC
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))


@dataclass(frozen=True)
class Tile:
    """One tile: its core's top left corner in px of the model, and which row of tiles it is in."""

    left: int
    top: int
    row: int


@dataclass(frozen=True)
class Grid:
    """How a slide is cut for a model.

    Attributes
    ----------
    step
        Slide px per px of the model.
    core_px, margin_px
        Sides of a tile's core, and what surrounds it, px of the model.
    origin_px
        Where a corner of the cores lies, px of the model.
    """

    step: float
    core_px: int
    margin_px: int
    origin_px: tuple[int, int] = (0, 0)

    @property
    def tile_px(self) -> int:
        """Side of a tile with its margins."""
        return self.core_px + 2 * self.margin_px

    def tiles(self, tissue: Sequence[shapely.Polygon]) -> list[Tile]:
        """The tiles whose core touches tissue (polygons in slide px), row by row."""
        if not len(tissue):
            return []
        tree = shapely.STRtree(list(tissue))
        side = self.core_px * self.step
        low_x, low_y, high_x, high_y = shapely.total_bounds(list(tissue))
        columns = np.arange(_first(low_x, self.origin_px[0], self), _first(high_x, self.origin_px[0], self) + 1)
        found = []
        for row in range(_first(low_y, self.origin_px[1], self), _first(high_y, self.origin_px[1], self) + 1):
            lefts = columns * self.core_px + self.origin_px[0]
            top = row * self.core_px + self.origin_px[1]
            x, y = lefts * self.step, top * self.step
            hit, _ = tree.query(shapely.box(x, y, x + side, y + side), predicate="intersects")
            found += [Tile(int(lefts[one]), top, row) for one in np.unique(hit)]
        return found

    def reader(self, windows: Windows) -> Callable[[Tile], NDArray[np.uint8]]:
        """What reads the pixels of a tile, (tile_px, tile_px, 3)."""

        def read(tile: Tile) -> NDArray[np.uint8]:
            left, top = tile.left - self.margin_px, tile.top - self.margin_px
            return windows.read(left, top, self.tile_px, self.tile_px, self.step)

        return read


def _first(edge: float, origin: int, grid: Grid) -> int:
    """Number of the row or column of tiles in which a place of the slide lies."""
    return int(np.floor((edge / grid.step - origin) / grid.core_px))
