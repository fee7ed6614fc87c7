"""A square of pixels at any scale: reduced by Lanczos' filter of three lobes, enlarged between pixels.

Reduction is area-correct: the filter is as wide as the reduction asks for, so that every pixel of the source counts
(Duchon 1979, J. Appl. Meteorol. 18, 1016-1022, for the filter). It is done as products of matrices whose entries are
whole numbers small enough that float32 holds every sum exactly: the result is the same on any machine, whatever order
a linear-algebra library adds in.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace
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
        """Plane by plane, so that what is worked on stays in the processor's own memory, and all chunks in one call."""
        size, (height, width) = self.size, block.shape[:2]
        down, across = _filter(top_px, self.step, size), _filter(left_px, self.step, size)
        # Chunks lie a whole number of px apart and reach a little over the block, where their entries are 0.
        rows, above = down.reach(height)
        columns, before = across.reach(width)
        planes = self._part("planes", np.uint8, 3, height, width)
        source, lines = self._part("source", F32, rows, width), self._part("lines", F32, down.outputs, columns)
        found, reduced = self._part("found", F32, size, across.outputs), self._part("reduced", np.uint8, 3, size, size)
        inputs = down.windows(source, above, source.strides, width)
        outputs = lines.reshape(len(inputs), -1, columns)[:, :, before : before + width]
        lines_at = across.windows(lines, before, lines.strides[::-1], size).transpose(0, 2, 1)
        found_at = found.reshape(size, len(lines_at), -1).transpose(1, 0, 2)
        cv2.split(block, list(planes))
        for plane, result in zip(planes, reduced, strict=True):
            np.copyto(source[above : above + height], plane)
            np.matmul(down.down, inputs, out=outputs)
            np.rint(lines, out=lines)
            np.matmul(lines_at, across.across, out=found_at)
            # Scaled, rounded to the nearest (half to even) and kept within 0-255 in one pass.
            kept = found[:, :size]
            cv2.addWeighted(kept, 2.0 ** -(KEPT_BITS + FILTER_BITS), kept, 0, 0, result, cv2.CV_8U)
        cv2.merge(list(reduced), self.square)

    def _part(self, name: str, dtype: type[np.generic], *shape: int) -> NDArray[Any]:
        count = math.prod(shape)
        if name not in self.memory or self.memory[name].size < count:
            # Never anything but numbers: what an entry of 0 is multiplied by must not be infinite.
            self.memory[name] = np.zeros(count, dtype)
        return self.memory[name][:count].reshape(shape)


@dataclass(frozen=True)
class _Filter:
    """Filters of all outputs, in chunks: chunk k looks at `K` inputs from `first + k * stride` on.

    `weights` is (chunks, outputs of one, K) float32, whole numbers; outputs beyond the square's are 0. `down` is the
    same divided by a power of two, which rounds nothing: lines come out with `KEPT_BITS`. `across` is the same laid out
    as (chunks, K, outputs): with a turned view in its place a product takes twice as long.
    """

    first: int
    stride: int
    weights: NDArray[np.float32]
    down: NDArray[np.float32]
    across: NDArray[np.float32]

    @property
    def outputs(self) -> int:
        """Of all chunks, those beyond the square's included."""
        return self.weights.shape[0] * self.weights.shape[1]

    def reach(self, count: int) -> tuple[int, int]:
        """How many inputs there must be around `count` of them, and how many of these lie before the first."""
        chunks, _, inputs = self.weights.shape
        before = max(0, -self.first)
        return before + max(count, self.first + (chunks - 1) * self.stride + inputs), before

    def windows(
        self, inputs: NDArray[np.float32], before: int, strides: tuple[int, ...], count: int
    ) -> NDArray[np.float32]:
        """(chunks, K, `count`): the inputs of each chunk, as a view of `inputs` with bytes along and beside them."""
        chunks, _, each = self.weights.shape
        along, beside = strides
        shape, start = (chunks, each, count), (before + self.first) * along
        return np.ndarray(shape, F32, inputs, offset=start, strides=(self.stride * along, along, beside))


def _filter(edge_px: float, step: float, size: int) -> _Filter:
    return _at_place(*divmod(round(edge_px * PHASES), PHASES), step, size)


@functools.lru_cache(maxsize=8 * PHASES)
def _at_place(whole_px: int, phase: int, step: float, size: int) -> _Filter:
    found = _at_phase(phase, step, size)
    return replace(found, first=whole_px + found.first)


@functools.lru_cache(maxsize=4 * PHASES)
def _at_phase(phase: int, step: float, size: int) -> _Filter:
    centres = phase / PHASES + (np.arange(size) + 0.5) * step
    firsts = np.floor(centres - LOBES * step + 0.5).astype(int)
    inputs = firsts[:, None] + np.arange(math.ceil(2 * LOBES * step) + 1)
    distance = (inputs + 0.5 - centres[:, None]) / step
    weights = np.where(np.abs(distance) < LOBES, np.sinc(distance) * np.sinc(distance / LOBES), 0.0)
    whole = _whole_numbers(weights)
    return _in_chunks(firsts, whole, step)


def _in_chunks(firsts: NDArray[np.int64], whole: NDArray[np.float32], step: float) -> _Filter:
    """The filters of `firsts` on, chunk by chunk, each the same whole number of inputs behind the one before."""
    size, stride = len(firsts), round(CHUNK * step)
    of, at = np.divmod(np.arange(size), CHUNK)
    shifted = firsts - of * stride
    first = int(shifted.min())
    weights = np.zeros((-(-size // CHUNK), CHUNK, int(shifted.max()) - first + whole.shape[1]), np.float32)
    for tap in range(whole.shape[1]):
        weights[of, at, shifted - first + tap] = whole[:, tap]
    down = weights * np.float32(2.0 ** (KEPT_BITS - FILTER_BITS))
    return _Filter(first, stride, weights, down, np.ascontiguousarray(weights.transpose(0, 2, 1)))


def _whole_numbers(weights: NDArray[np.float64]) -> NDArray[np.float32]:
    """Rows that sum to 2^FILTER_BITS, so that flat parts stay flat: the largest entry takes what rounding leaves."""
    whole = np.rint(weights / weights.sum(axis=1, keepdims=True) * 2**FILTER_BITS)
    whole[np.arange(len(whole)), whole.argmax(axis=1)] += 2**FILTER_BITS - whole.sum(axis=1)
    return whole.astype(np.float32)
