"""Square patches of one or more physical sizes around spots, cut from the pyramid in one pass."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from spotweave.slide.resample import Pixels, Resampler, margin_px

if TYPE_CHECKING:
    from spotweave.slide.levels import Pyramid


@dataclass(frozen=True)
class PatchGrid:
    """What to cut.

    Attributes
    ----------
    centres_px
        (N, 2) float64, patch centres in slide px.
    size_px
        Side of a patch in its own pixels.
    target_pixel_size_um, slide_pixel_size_um
        um per px of the patch and of the slide's level 0.
    """

    centres_px: NDArray[np.float64]
    size_px: int
    target_pixel_size_um: float
    slide_pixel_size_um: float

    @property
    def source_size_px(self) -> float:
        """Side of a patch in level-0 px; not a whole number in general."""
        return self.size_px * self.target_pixel_size_um / self.slide_pixel_size_um

    @property
    def top_left_px(self) -> NDArray[np.int64]:
        """(N, 2) int64, top left of the patches at level 0, rounded."""
        return np.rint(self.centres_px - self.source_size_px / 2).astype(np.int64)

    def padded(self, width_px: int, height_px: int) -> NDArray[np.bool_]:
        """(N,) bool: which patches reach beyond the slide by more than half a pixel."""
        low = self.centres_px - self.source_size_px / 2
        high = low + self.source_size_px
        beyond = (low < -0.5) | (high > np.array([width_px, height_px]) + 0.5)
        return np.asarray(beyond.any(axis=1))


class Cutter:
    """Cuts patches of several sizes around the same centres; the sizes that need a level share what is read of it.

    A patch's edges are taken at fractions of a pixel, so that its physical size is exact and no shift builds up. It
    comes from the coarsest level that is fine enough, enlarged bilinearly, or reduced by Lanczos' filter of three
    lobes: that keeps waves of 4 px of the patch and more to within a fifth. Of stripes that it cannot hold (below
    2 px) .65 of the contrast is left at 1.96 px, .44 at 1.8, .17 at 1.6, less than .01 from 1.4 px down.

    Parameters
    ----------
    pyramid
        The slide.
    grids
        One a size; their centres are the same.
    """

    def __init__(self, pyramid: Pyramid, grids: Sequence[PatchGrid]) -> None:
        self.pyramid = pyramid
        self.centres_px = grids[0].centres_px
        squares = [_Square.of(pyramid, grid) for grid in grids]
        resamplers = [Resampler(square.step, square.size_px) for square in squares]
        # The largest square of the finest level sets the order: those within it reach over no other tiles.
        self.finest = min(squares, key=lambda square: (square.level, -square.side))
        self.levels = {
            level: [
                (number, square, resampler)
                for number, (square, resampler) in enumerate(zip(squares, resamplers, strict=True))
                if square.level == level
            ]
            for level in sorted({square.level for square in squares})
        }
        self.row_px = pyramid.levels[self.finest.level].tile_px[1]
        for level, of_level in self.levels.items():
            side_px = max(math.ceil(one.side) + 2 * one.margin + 1 for _, one, _ in of_level)
            # Between two rows of the finest level's tiles, blocks of other levels move by what lies between them.
            moved_px = self.row_px * self.finest.factor / pyramid.downsamples[level]
            pyramid.keep(level, side_px, side_px + math.ceil(moved_px if level != self.finest.level else 0))
        self.found: list[Pixels] = [resampler.square for resampler in resamplers]

    def order(self, rows: NDArray[np.integer] | None = None) -> NDArray[np.int64]:
        """`rows` (all of them) in an order in which each tile is decoded once: by row of tiles, then from the left."""
        chosen = np.arange(len(self.centres_px)) if rows is None else np.asarray(rows)
        centres = self.centres_px[chosen]
        edges = np.floor(centres[:, 1] / self.finest.factor - self.finest.side / 2) - self.finest.margin
        tops = np.floor(edges / self.row_px)
        return np.asarray(chosen[np.lexsort((chosen, centres[:, 0], tops))])

    def cut(self, row: int) -> list[Pixels]:
        """The patches around one centre, (size, size, 3) uint8, in the order of the grids; the next cut reuses them."""
        for level in self.levels:
            self._cut_from(level, row)
        return self.found

    def passes(self) -> Iterator[tuple[int, list[int], list[Pixels]]]:
        """Every row of `order`, once a level: the row, which grids come from this level, and their patches (see `cut`).

        One level after the other: where they take turns at every row, each pushes the other's tiles, blocks and filters
        out of the processor's memory, and three sizes cost a tenth more.
        """
        order = self.order().tolist()
        for level, of_level in self.levels.items():
            numbers = [number for number, _, _ in of_level]
            found = [self.found[number] for number in numbers]
            for row in order:
                self._cut_from(level, row)
                yield row, numbers, found

    def _cut_from(self, level: int, row: int) -> None:
        """Fill the patches around one centre that come from a level."""
        x_px, y_px = self.centres_px[row].tolist()
        of_level = self.levels[level]
        places = [square.place(x_px, y_px) for _, square, _ in of_level]
        left, top = min(place[2] for place in places), min(place[3] for place in places)
        right, bottom = max(place[4] for place in places), max(place[5] for place in places)
        block = self.pyramid.view(level, left, top, right - left, bottom - top)
        for (_, _, resampler), (x, y, x0, y0, x1, y1) in zip(of_level, places, strict=True):
            resampler(block[y0 - top : y1 - top, x0 - left : x1 - left], x - x0, y - y0)


def cut(pyramid: Pyramid, grid: PatchGrid) -> Iterator[Pixels]:
    """Yield each patch of one size, (size, size, 3) uint8, in the order of its centres."""
    cutter = Cutter(pyramid, [grid])
    for row in range(len(grid.centres_px)):
        yield cutter.cut(row)[0].copy()


@dataclass(frozen=True)
class _Square:
    """One size on the level it comes from: `side` px of the level, `step` of them a px of the patch."""

    size_px: int
    level: int
    factor: float
    source_px: float
    side: float
    step: float
    margin: int

    @classmethod
    def of(cls, pyramid: Pyramid, grid: PatchGrid) -> _Square:
        source_px = grid.source_size_px
        level = pyramid.level_for(source_px / grid.size_px)
        factor = pyramid.downsamples[level]
        side = source_px / factor
        step = side / grid.size_px
        return cls(grid.size_px, level, factor, source_px, side, step, margin_px(step))

    def place(self, x_px: float, y_px: float) -> tuple[float, float, int, int, int, int]:
        """Its corner on the level (x, y), and the block (left, top, right, bottom) that it is resampled from."""
        x, y = (x_px - self.source_px / 2) / self.factor, (y_px - self.source_px / 2) / self.factor
        left, top = math.floor(x) - self.margin, math.floor(y) - self.margin
        right, bottom = math.ceil(x + self.side) + self.margin, math.ceil(y + self.side) + self.margin
        return x, y, left, top, right, bottom
