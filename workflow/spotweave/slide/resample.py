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
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

LOBES = 3
# Places are rounded to this part of a source px: the filters of all patches of a size are then few, and kept.
PHASES = 64
# Outputs whose filters share a matrix: wider ones hold more zeros, narrower ones cost more calls.
CHUNK = 16
# Bits behind the point: of the filters, and of what the filter along y gives. Sums stay below 2^24, up to which float32
# holds every whole number: 255 x 1.5 (the filter's entries without their signs) x 2^3 x 2^11 x 1.5.
FILTER_BITS, KEPT_BITS = 11, 3

F32 = np.float32
Pixels = NDArray[np.uint8]


def margin_px(step: float) -> int:
    """Source px that the filters look at beyond each edge of a square."""
    return math.ceil(LOBES * max(1.0, step)) + 1


class Resampler:
    """Makes squares of `size` px whose px are `step` source px apart.

    All its memory is reused from square to square: fresh pages cost more than the arithmetic.
    """

    def __init__(self, step: float, size: int) -> None:
        self.step, self.size = step, size
        self.square: Pixels = np.empty((size, size, 3), np.uint8)
        self.memory: dict[str, NDArray[Any]] = {}

    def __call__(self, block: Pixels, left_px: float, top_px: float) -> Pixels:
        """One square, (size, size, 3) uint8; the next call overwrites it.

        Parameters
        ----------
        block
            (H, W, 3) uint8, with `margin_px` beyond the square on every side.
        left_px, top_px
            The square's corner in the block, as edges of pixels count: 0 is the left edge of the first px.
        """
        if self.step > 1:
            self._reduce(block, left_px, top_px)
        else:
            self._enlarge(block, left_px, top_px)
        return self.square

    def _enlarge(self, block: Pixels, left_px: float, top_px: float) -> None:
        # OpenCV counts from pixel centres: the centre of patch pixel i lies (i + 1/2) steps behind the edge.
        step, shape = self.step, (self.size, self.size)
        matrix = np.array([[step, 0, left_px + step / 2 - 0.5], [0, step, top_px + step / 2 - 0.5]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        cv2.warpAffine(block, matrix, shape, dst=self.square, flags=flags, borderMode=cv2.BORDER_REPLICATE)

    def _reduce(self, block: Pixels, left_px: float, top_px: float) -> None:
        """Plane by plane, so that what is worked on stays in the processor's own memory."""
        size, (height, width) = self.size, block.shape[:2]
        row, rows = _filter(top_px, self.step, size)
        column, columns = _filter(left_px, self.step, size)
        planes, source = self._part("planes", np.uint8, 3, height, width), self._part("source", F32, height, width)
        lines, found = self._part("lines", F32, size, width), self._part("found", F32, 3, size, size)
        cv2.split(block, list(planes))
        for plane, result in zip(planes, found, strict=True):
            np.copyto(source, plane)
            for band in rows:
                inputs = source[row + band.first : row + band.last]
                np.matmul(band.weights, inputs, out=lines[band.start : band.stop])
            lines *= 2.0 ** (KEPT_BITS - FILTER_BITS)
            np.rint(lines, out=lines)
            for band in columns:
                inputs = lines[:, column + band.first : column + band.last]
                np.matmul(inputs, band.weights.T, out=result[:, band.start : band.stop])
        merged = self._part("merged", F32, size, size, 3)
        cv2.merge(list(found), merged)
        # Scaled, rounded to the nearest (half to even) and kept within 0-255 in one pass.
        cv2.addWeighted(merged, 2.0 ** -(KEPT_BITS + FILTER_BITS), merged, 0, 0, self.square, cv2.CV_8U)

    def _part(self, name: str, dtype: type[np.generic], *shape: int) -> NDArray[Any]:
        count = math.prod(shape)
        if name not in self.memory or self.memory[name].size < count:
            self.memory[name] = np.empty(count, dtype)
        return self.memory[name][:count].reshape(shape)


@dataclass(frozen=True)
class _Band:
    """Filters of the outputs `start` to `stop` over the inputs `first` to `last`, counted from a whole px."""

    start: int
    stop: int
    first: int
    last: int
    weights: NDArray[np.float32]


def _filter(edge_px: float, step: float, size: int) -> tuple[int, tuple[_Band, ...]]:
    """The whole px that bands count from, and the bands."""
    whole, phase = divmod(round(edge_px * PHASES), PHASES)
    return whole, _bands(phase, step, size)


@functools.lru_cache(maxsize=4 * PHASES)
def _bands(phase: int, step: float, size: int) -> tuple[_Band, ...]:
    centres = phase / PHASES + (np.arange(size) + 0.5) * step
    firsts = np.floor(centres - LOBES * step + 0.5).astype(int)
    inputs = firsts[:, None] + np.arange(math.ceil(2 * LOBES * step) + 1)
    distance = (inputs + 0.5 - centres[:, None]) / step
    weights = np.where(np.abs(distance) < LOBES, np.sinc(distance) * np.sinc(distance / LOBES), 0.0)
    whole, lines = _whole_numbers(weights), np.arange(CHUNK)[:, None]
    bands = []
    for start in range(0, size, CHUNK):
        stop = min(start + CHUNK, size)
        first, last = int(firsts[start]), int(inputs[stop - 1, -1]) + 1
        band = np.zeros((stop - start, last - first), np.float32)
        band[lines[: stop - start], inputs[start:stop] - first] = whole[start:stop]
        bands.append(_Band(start, stop, first, last, band))
    return tuple(bands)


def _whole_numbers(weights: NDArray[np.float64]) -> NDArray[np.float32]:
    """Rows that sum to 2^FILTER_BITS, so that flat parts stay flat: the largest entry takes what rounding leaves."""
    whole = np.rint(weights / weights.sum(axis=1, keepdims=True) * 2**FILTER_BITS)
    whole[np.arange(len(whole)), whole.argmax(axis=1)] += 2**FILTER_BITS - whole.sum(axis=1)
    return whole.astype(np.float32)
