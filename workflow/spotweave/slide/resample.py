"""A square of pixels at any scale: reduced by Lanczos' filter of three lobes, enlarged between pixels.

Reduction is area-correct: the filter is as wide as the reduction asks for, so that every pixel of the source counts
(Duchon 1979, J. Appl. Meteorol. 18, 1016-1022, for the filter). It is done as products of matrices whose entries are
whole numbers small enough that float32 holds every sum exactly: the result is the same on any machine, whatever order
a linear-algebra library adds in.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

LOBES = 3
# Places are rounded to this part of a source px: the filters of all patches of a size are then few, and kept.
PHASES = 64
# Outputs whose filters share a matrix: wider ones hold more zeros, narrower ones cost more calls.
CHUNK = 16
# Bits behind the point: of the filter along y, of what it gives, and of the filter along x. Sums stay below 2^24.
FIRST_BITS, KEPT_BITS, SECOND_BITS = 15, 4, 10
EXACT = 2**24

Pixels = NDArray[np.uint8]


def margin_px(step: float) -> int:
    """Source px that the filters look at beyond each edge of a square."""
    return math.ceil(LOBES * max(1.0, step)) + 1


def resample(block: Pixels, left_px: float, top_px: float, step: float, size: int) -> Pixels:
    """A square of `size` px whose px are `step` source px apart.

    Parameters
    ----------
    block
        (H, W, 3) uint8, with `margin_px` beyond the square on every side.
    left_px, top_px
        The square's corner in the block, as edges of pixels count: 0 is the left edge of the first px.

    Returns
    -------
    (size, size, 3) uint8
    """
    if step > 1:
        return _reduced(block, left_px, top_px, step, size)
    # OpenCV counts from pixel centres: the centre of patch pixel i lies (i + 1/2) steps behind the edge.
    origin = (left_px + step / 2 - 0.5, top_px + step / 2 - 0.5)
    matrix = np.array([[step, 0, origin[0]], [0, step, origin[1]]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(block, matrix, (size, size), flags=flags, borderMode=cv2.BORDER_REPLICATE))


def _reduced(block: Pixels, left_px: float, top_px: float, step: float, size: int) -> Pixels:
    row, rows = _filter(top_px, step, size, FIRST_BITS)
    column, columns = _filter(left_px, step, size, SECOND_BITS)
    height, width = block.shape[:2]
    source = block.reshape(height, width * 3).astype(np.float32)
    lines = np.empty((size, width * 3), np.float32)
    for band in rows:
        np.matmul(band.weights, source[row + band.first : row + band.last], out=lines[band.start : band.stop])
    np.rint(np.multiply(lines, 2.0 ** (KEPT_BITS - FIRST_BITS), out=lines), out=lines)
    planes = np.empty((3, size, width), np.float32)
    cv2.split(lines.reshape(size, width, 3), list(planes))
    flat = planes.reshape(3 * size, width)
    found = np.empty((3 * size, size), np.float32)
    for band in columns:
        inputs = flat[:, column + band.first : column + band.last]
        np.matmul(inputs, band.weights.T, out=found[:, band.start : band.stop])
    merged = cv2.merge(list(found.reshape(3, size, size)))
    # Scaled, rounded to the nearest (half to even) and kept within 0-255 in one pass.
    return np.asarray(cv2.addWeighted(merged, 2.0 ** -(KEPT_BITS + SECOND_BITS), merged, 0, 0, dtype=cv2.CV_8U))


@dataclass(frozen=True)
class _Band:
    """Filters of the outputs `start` to `stop` over the inputs `first` to `last`, counted from a whole px."""

    start: int
    stop: int
    first: int
    last: int
    weights: NDArray[np.float32]


def _filter(edge_px: float, step: float, size: int, bits: int) -> tuple[int, tuple[_Band, ...]]:
    """The whole px that bands count from, and the bands."""
    whole, phase = divmod(round(edge_px * PHASES), PHASES)
    return whole, _bands(phase, step, size, bits)


@functools.lru_cache(maxsize=8 * PHASES)
def _bands(phase: int, step: float, size: int, bits: int) -> tuple[_Band, ...]:
    centres = phase / PHASES + (np.arange(size) + 0.5) * step
    firsts = np.floor(centres - LOBES * step + 0.5).astype(int)
    lasts = np.floor(centres + LOBES * step + 0.5).astype(int)
    bands = []
    for start in range(0, size, CHUNK):
        stop = min(start + CHUNK, size)
        first, last = int(firsts[start]), int(lasts[stop - 1])
        inputs = np.arange(first, last)
        distance = (inputs + 0.5 - centres[start:stop, None]) / step
        taken = (inputs >= firsts[start:stop, None]) & (inputs < lasts[start:stop, None])
        weights = np.where(taken & (np.abs(distance) < LOBES), np.sinc(distance) * np.sinc(distance / LOBES), 0.0)
        bands.append(_Band(start, stop, first, last, _whole_numbers(weights, bits)))
    return tuple(bands)


def _whole_numbers(weights: NDArray[np.float64], bits: int) -> NDArray[np.float32]:
    """Rows that sum to 2^bits exactly, so that flat parts stay flat: the largest entry takes what rounding leaves."""
    whole = np.rint(weights / weights.sum(axis=1, keepdims=True) * 2**bits)
    largest = np.abs(whole).argmax(axis=1)
    whole[np.arange(len(whole)), largest] += 2**bits - whole.sum(axis=1)
    return whole.astype(np.float32)
