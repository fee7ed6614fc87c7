"""Where to begin: two grids laid over each other in all turns, both hands and a range of scales.

Every pose is correlated at all shifts at once, within the part that both pictures cover (Padfield, "Masked object
registration in the Fourier domain", IEEE TIP 21, 2012, eq. 15 ff.), so that a picture that shows only a part of the
section is no disadvantage.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft
from tqdm import tqdm

from spotweave.geometry import apply
from spotweave.register.rasters import Raster

SIDE_PX = 224  # of the larger picture
TURN_DEG = 6.0
OVERLAP_MIN = 0.25  # of the smaller picture
APART_PX, APART_DEG = 8.0, 12.0  # two poses nearer than this are one
PEAKS_A_POSE = 2
SCALE_STEP = 0.05
QUICK_SIDE_PX, QUICK_TURN_DEG = 96, 12.0


@dataclass(frozen=True)
class Pose:
    """A start: how well the two correlate (-1 to 1), and the map.

    Attributes
    ----------
    score
        Correlation within the overlap.
    matrix
        (3, 3), native of `moving` -> native of `fixed`.
    turn_deg, mirrored, scale
        Of `moving`: its turn after its flip, and its size relative to what the um of both grids say.
    """

    score: float
    matrix: NDArray[np.float64]
    turn_deg: float
    mirrored: bool
    scale: float


def search(
    fixed: Raster,
    moving: Raster,
    scales: Sequence[float],
    most: int,
    *,
    side_px: int = SIDE_PX,
    turn_deg: float = TURN_DEG,
) -> list[Pose]:
    """The best poses, the best first, no two alike.

    Parameters
    ----------
    fixed, moving
        Grids of about the same um per px.
    scales
        Factors on the size of `moving` that are tried: 1 where both pixel sizes are known.
    most
        How many at most.
    side_px, turn_deg
        Px of the larger picture's longer side, and the step between turns.
    """
    extent_um = max(
        *(side * fixed.um_per_px for side in fixed.size_px), *(s * moving.um_per_px for s in moving.size_px)
    )
    um = max(extent_um / side_px, fixed.um_per_px, moving.um_per_px)
    still, mover = fixed.at(um), moving.at(um)
    poses: list[Pose] = []
    turns = np.arange(0.0, 180.0, turn_deg)
    with tqdm(total=4 * len(scales) * len(turns), disable=None, desc="coarse search") as bar:
        for scale in scales:
            side = _side(mover, scale * mover.um_per_px / still.um_per_px)
            correlator = _Correlator(_balanced(still.signal), side)
            for turn in turns.tolist():
                # A rectangle covers the same px from either hand and upside down.
                overlap = correlator.overlap(_cover(mover, side, _placed(still, mover, side, turn, False, scale)))
                for turned, mirrored in itertools.product((turn, turn + 180.0), (False, True)):
                    poses += _of_pose(correlator, overlap, still, mover, turned, mirrored, scale)
                    bar.update()
    return _distinct(sorted(poses, key=lambda pose: -pose.score), still, mover, most)


def likely_scales(fixed: Raster, moving: Raster, least: float, largest: float, most: int) -> list[float]:
    """The sizes of `moving` between two bounds at which some pose fits best, by a quick look; the best first."""
    count = max(2, int(np.ceil(np.log(largest / least) / SCALE_STEP)) + 1)
    scales = np.geomspace(least, largest, count).tolist()
    found: list[tuple[float, float]] = []
    for scale in tqdm(scales, disable=None, desc="sizes"):
        larger = Raster(moving.signal, moving.scale, moving.um_per_px * scale)
        poses = search(fixed, larger, (1.0,), 1, side_px=QUICK_SIDE_PX, turn_deg=QUICK_TURN_DEG)
        found += [(pose.score, scale) for pose in poses]
    kept: list[float] = []
    for _, scale in sorted(found, reverse=True):
        if all(abs(np.log(scale / other)) > 1.5 * SCALE_STEP for other in kept):
            kept.append(scale)
    return kept[:most]


def _balanced(signal: NDArray[np.uint8]) -> NDArray[np.float32]:
    values = signal.astype(np.float32)
    return np.asarray((values - values.mean()) / (values.std() + 1e-6), dtype=np.float32)


def _side(raster: Raster, factor: float) -> int:
    """A square that holds the picture however it is turned."""
    return int(np.ceil(np.hypot(*raster.size_px) * factor)) + 2


def _placed(
    still: Raster, mover: Raster, side: int, turn_deg: float, mirrored: bool, scale: float
) -> NDArray[np.float64]:
    """(3, 3): px of the mover -> px of the square it is turned in, both with the origin at their corner."""
    width, height = mover.size_px
    turn = np.deg2rad(turn_deg)
    linear = (
        scale
        * mover.um_per_px
        / still.um_per_px
        * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    )
    if mirrored:
        linear = linear @ np.diag([-1.0, 1.0])
    placed = np.eye(3)
    placed[:2, :2] = linear
    placed[:2, 2] = side / 2 - linear @ (width / 2, height / 2)
    return placed


def _by_index(placed: NDArray[np.float64]) -> NDArray[np.float64]:
    """(2, 3): the same for px counted at their middles, as OpenCV does."""
    half = np.eye(3)
    half[:2, 2] = 0.5
    return np.asarray((np.linalg.inv(half) @ placed @ half)[:2])


def _cover(mover: Raster, side: int, placed: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(side, side): px that the turned picture covers whole."""
    width, height = mover.size_px
    drawn = cv2.warpAffine(np.ones((height, width), np.float32), _by_index(placed), (side, side))
    return np.asarray(drawn > 0.99)


def _of_pose(
    correlator: _Correlator,
    overlap: _Overlap,
    still: Raster,
    mover: Raster,
    turn_deg: float,
    mirrored: bool,
    scale: float,
) -> list[Pose]:
    """The best shifts of one pose."""
    side = correlator.side
    placed = _placed(still, mover, side, turn_deg, mirrored, scale)
    values = cv2.warpAffine(_balanced(mover.signal), _by_index(placed), (side, side), flags=cv2.INTER_LINEAR)
    surface = correlator.surface(np.asarray(values), overlap)
    found = []
    for _ in range(PEAKS_A_POSE):
        row, column = np.unravel_index(int(surface.argmax()), surface.shape)
        score = float(surface[row, column])
        if score <= 0:
            break
        moved = placed.copy()
        moved[:2, 2] += (column - (side - 1), row - (side - 1))
        matrix = still.to_native @ moved @ np.linalg.inv(mover.to_native)
        found.append(Pose(score, matrix, turn_deg, mirrored, scale))
        near = int(APART_PX)
        surface[max(0, row - near) : row + near + 1, max(0, column - near) : column + near + 1] = -1
    return found


def _distinct(poses: list[Pose], still: Raster, mover: Raster, most: int) -> list[Pose]:
    """Poses that put the corners of the mover elsewhere than every better one."""
    width, height = mover.size_px
    corners = apply(mover.to_native, np.array([[0, 0], [width, 0], [0, height], [width, height]], dtype=np.float64))
    limit = max(APART_PX, np.deg2rad(APART_DEG) * float(np.hypot(width, height)) / 2)
    kept: list[Pose] = []
    seen: list[NDArray[np.float64]] = []
    for pose in poses:
        at = apply(np.linalg.inv(still.to_native) @ pose.matrix, corners)
        if all(np.linalg.norm(at - other, axis=1).mean() > limit for other in seen):
            kept.append(pose)
            seen.append(at)
            if len(kept) == most:
                break
    return kept


@dataclass(frozen=True)
class _Overlap:
    """What of a correlation depends on the part of the mover that is covered alone; all by shift.

    Attributes
    ----------
    mask
        (side, side), 0 or 1: the covered px.
    count
        Px within both pictures.
    first, spread
        Sum of the still picture over them, and `count` times its variance.
    solid
        Where enough px of both overlap.
    """

    mask: NDArray[np.float32]
    count: NDArray[np.float32]
    first: NDArray[np.float32]
    spread: NDArray[np.float32]
    solid: NDArray[np.bool_]


class _Correlator:
    """One picture, correlated with others that fit into a square of `side` px."""

    def __init__(self, still: NDArray[np.float32], side: int) -> None:
        self.side = side
        height, width = still.shape
        self.shape = (height + side - 1, width + side - 1)
        self.padded = tuple(fft.next_fast_len(n, real=True) for n in self.shape)
        self.values = self._transform(still)
        self.squares = self._transform(still**2)
        self.cover = self._transform(np.ones_like(still))
        self.still_px = still.size

    def overlap(self, cover: NDArray[np.bool_]) -> _Overlap:
        """For every mover that covers these px of its square."""
        mask = cover.astype(np.float32)
        covers = np.conj(self._transform(mask))
        count = np.maximum(self._back(self.cover * covers), 1.0)
        first = self._back(self.values * covers)
        spread = np.maximum(self._back(self.squares * covers) - first**2 / count, 0)
        return _Overlap(mask, count, first, spread, count >= OVERLAP_MIN * min(self.still_px, float(mask.sum())))

    def surface(self, mover: NDArray[np.float32], overlap: _Overlap) -> NDArray[np.float32]:
        """(H + side - 1, W + side - 1): correlation for every shift; index (side - 1, side - 1) is no shift."""
        count = overlap.count
        values = np.conj(self._transform(mover * overlap.mask))
        squares = np.conj(self._transform(mover**2 * overlap.mask))
        second = self._back(self.cover * values)
        together = self._back(self.values * values) - overlap.first * second / count
        spread = overlap.spread * np.maximum(self._back(self.cover * squares) - second**2 / count, 0)
        # A flat overlap (glass on glass) correlates by rounding alone.
        solid = overlap.solid & (spread > 1e-3 * count**2)
        surface = np.where(solid, together / np.sqrt(np.maximum(spread, 1e-9)), -1.0)
        # More overlap is more evidence.
        return np.asarray(surface * np.sqrt(count / count.max()) ** 0.5, dtype=np.float32)

    def _transform(self, values: NDArray[np.float32]) -> NDArray[np.complex64]:
        return np.asarray(fft.rfft2(values, self.padded))

    def _back(self, product: NDArray[np.complex64]) -> NDArray[np.float32]:
        whole = fft.irfft2(product, self.padded)
        # Negative shifts stand at the end.
        rolled = np.roll(whole, (self.side - 1, self.side - 1), axis=(0, 1))
        return np.asarray(rolled[: self.shape[0], : self.shape[1]])
