"""A map of probabilities over a slide from overlapping tiles of it, without holding the slide.

Tiles are cut from the slide at a network's own scale; the map has one cell for `CELL_PX` x `CELL_PX` of their px, so
that it is the size of the reduced picture that all ways to find tissue share. Where tiles overlap, they are blended by
weights that fall off linearly towards their sides: a network sees less beyond the border of a tile, and tiles side by
side would meet in visible seams. A tile that reaches beyond the slide is filled up with white.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from spotweave.tissue.masks import Plane

TILE_PX = 512
OVERLAP_PX = 128
CELL_PX = 8
STEP_PX = TILE_PX - OVERLAP_PX
WHITE = 255

Predict = Callable[[NDArray[np.uint8]], NDArray[Any]]


def probability_map(
    strips: Iterable[tuple[int, NDArray[np.uint8]]],
    shape: tuple[int, int],
    predict: Predict,
    *,
    tiles_at_once: int,
) -> Plane:
    """Blend what a network says of every tile.

    Parameters
    ----------
    strips
        (first row, (rows, W, 3) uint8) of the slide at the network's scale from the top down; every strip but the last
        has `OVERLAP_PX` rows, which divide a tile.
    shape
        Cells of the map: the slide has `CELL_PX` times as many px each way.
    predict
        (B, TILE_PX, TILE_PX, 3) uint8 -> (B, TILE_PX, TILE_PX) probabilities.
    tiles_at_once
        B, at most.

    Returns
    -------
    (H, W) float32 means of the probability over cells.
    """
    height, width = (CELL_PX * cells for cells in shape)
    columns, rows = _starts(width), _starts(height)
    ramp = _ramp()
    weight = np.outer(ramp, ramp)
    total, weights = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    window = np.full((TILE_PX, width, 3), WHITE, np.uint8)
    incoming, filled = iter(strips), 0
    with tqdm(total=len(rows) * len(columns), desc="tiles", disable=None) as progress:
        for top in rows:
            if top:
                window[:OVERLAP_PX] = window[STEP_PX:]
                window[OVERLAP_PX:] = WHITE
            while filled < min(top + TILE_PX, height):
                first, strip = next(incoming)
                filled = first + len(strip)
                window[first - top : filled - top] = strip
            for start in range(0, len(columns), tiles_at_once):
                lefts = columns[start : start + tiles_at_once]
                found = predict(np.stack([_tile(window, left) for left in lefts]))
                for left, plane in zip(lefts, found, strict=True):
                    _add(total, weights, plane, weight, top, left)
                progress.update(len(lefts))
    return total / weights


def _starts(length: int) -> list[int]:
    """Where tiles begin, so that they cover `length` px."""
    return list(range(0, max(length - OVERLAP_PX, 1), STEP_PX))


def _ramp() -> Plane:
    """(TILE_PX / CELL_PX,) weights that rise over the overlap, and fall."""
    cells, slope = TILE_PX // CELL_PX, OVERLAP_PX // CELL_PX
    from_side = np.minimum(np.arange(cells), np.arange(cells)[::-1]) + 0.5
    return np.minimum(from_side / slope, 1).astype(np.float32)


def _tile(window: NDArray[np.uint8], left: int) -> NDArray[np.uint8]:
    tile = window[:, left : left + TILE_PX]
    missing = TILE_PX - tile.shape[1]
    return np.pad(tile, ((0, 0), (0, missing), (0, 0)), constant_values=WHITE) if missing else tile


def _add(total: Plane, weights: Plane, plane: NDArray[Any], weight: Plane, top: int, left: int) -> None:
    cells = TILE_PX // CELL_PX
    means = plane.astype(np.float32).reshape(cells, CELL_PX, cells, CELL_PX).mean(axis=(1, 3))
    row, column = top // CELL_PX, left // CELL_PX
    here = (slice(row, row + cells), slice(column, column + cells))
    rows, columns = total[here].shape
    total[here] += (means * weight)[:rows, :columns]
    weights[here] += weight[:rows, :columns]
