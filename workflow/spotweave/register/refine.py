"""A start made better: patches are found again on finer and finer grids, and the map follows those that agree."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from spotweave.geometry import Points, apply, fit_affine
from spotweave.register import fits, matches
from spotweave.register.matches import Matches
from spotweave.register.rasters import Raster, local_contrast
from spotweave.register.warping import onto
from spotweave.slide_map import SlideMap

ROUNDS = 3
SETTLED_PX = 0.3
BLOCK_UM = matches.BLOCK_UM
SMALL_SHARE = 0.85  # of a block: patches this small find room between held-out ones
MOST_PATCHES, MOST_OF_FIELD = 3000, 20_000
WIDE_UM = 60.0  # how far a bent section may lie off a matrix
EVENED_MIN = 60
ECC_LEVELS = ((4.0, 5), (2.0, 9))  # grids, in working um, and the px of the blur
ECC_SIDE_PX, ECC_STEPS, ECC_SETTLED = 2000, 80, 1e-5
CONFIDENT = (
    0.2  # of patches looked for at wrong places have a peak as high; what is left of them is taken out by agreement
)


@dataclass(frozen=True)
class Level:
    """A grid that is worked on: its um per px, patches of `tile` px every `step` px, looked for within `reach` px."""

    um_per_px: float
    tile: int
    step: int
    reach: int
    within_px: float


def levels(working_um: float) -> tuple[Level, ...]:
    """For an affine map, from coarse to the working grid."""
    return (
        Level(8 * working_um, 40, 20, 14, 5.0),
        Level(4 * working_um, 48, 24, 14, 5.0),
        Level(2 * working_um, 48, 32, 14, 6.0),
        Level(working_um, 40, 16, 12, 5.0),
    )


def field_levels(working_um: float, finest_um: float) -> tuple[Level, ...]:
    """For a field on top of it."""
    found = [
        Level(2 * working_um, 48, 24, 16, 6.0),
        Level(2 * working_um, 40, 20, 12, 5.0),
        Level(working_um, 48, 20, 12, 4.0),
        Level(working_um, 40, 16, 8, 3.0),
    ]
    return (*found, Level(finest_um, 64, 32, 6, 3.0)) if finest_um < 0.75 * working_um else tuple(found)


@dataclass(frozen=True)
class Pair:
    """Two signals: `fixed` of the slide, `moving` of the instrument."""

    fixed: Raster
    moving: Raster


def affine(pair: Pair, start: NDArray[np.float64], steps: tuple[Level, ...]) -> NDArray[np.float64]:
    """The affine map (3, 3), um -> slide px, that a start leads to."""
    matrix = start
    for level in steps:
        fixed, moving = pair.fixed.at(level.um_per_px), pair.moving.at(level.um_per_px)
        still = fixed.contrast()
        for _ in range(ROUNDS):
            found = _found(fixed, moving, still, SlideMap(matrix), level)
            step = fits.correction(found, level.within_px, affine=len(found) >= 4 * fits.INLIERS_MIN)
            if step is None:
                break
            matrix = fixed.to_native @ step @ np.linalg.inv(fixed.to_native) @ matrix
            width, height = fixed.size_px
            corners = np.array([[0, 0], [width, 0], [0, height], [width, height]], dtype=np.float64)
            if np.abs(apply(step, corners) - corners).max() < SETTLED_PX:
                break
    return _evened(pair, matrix, steps[-1])


def _evened(pair: Pair, matrix: NDArray[np.float64], level: Level) -> NDArray[np.float64]:
    """The matrix that is nearest to all patches whose neighbours agree, rather than to the largest part of them.

    In a bent section the most patches that agree with one matrix are one corner of it, which it then follows as if the
    whole were sheared like it.
    """
    fixed, moving = pair.fixed.at(level.um_per_px), pair.moving.at(level.um_per_px)
    wide = replace(level, reach=round(WIDE_UM / fixed.um_per_px))
    found = _found(fixed, moving, fixed.contrast(), SlideMap(matrix), wide)
    found = found.of(fits.agreeing(found, 2 * level.within_px))
    if len(found) < EVENED_MIN:
        return matrix
    try:
        step = fit_affine(found.centre_px + found.shift_px, found.centre_px)
    except ValueError:
        return matrix
    return np.asarray(fixed.to_native @ step @ np.linalg.inv(fixed.to_native) @ matrix, dtype=np.float64)


def by_correlation(pair: Pair, matrix: NDArray[np.float64], working_um: float) -> NDArray[np.float64]:
    """The affine map (3, 3) near a matrix at which the whole of both pictures correlates most; the matrix if none does.

    Evangelidis & Psarakis, IEEE PAMI 30 (2008), as OpenCV has it. Of neighbouring sections single patches are often not
    to be found again, and the whole is.
    """
    size_um = float(np.sqrt(np.prod(pair.fixed.size_px))) * pair.fixed.um_per_px
    for factor, blur_px in ECC_LEVELS:
        um = max(factor * working_um, size_um / ECC_SIDE_PX)
        fixed, moving = pair.fixed.at(um), pair.moving.at(um)
        drawn, cover = onto(moving, fixed, SlideMap(matrix))
        moved = local_contrast(drawn.astype(np.float32), fixed.um_per_px)
        stop = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, ECC_STEPS, ECC_SETTLED)
        start = np.eye(2, 3, dtype=np.float32)
        mask = cover.astype(np.uint8)
        try:
            _, warp = cv2.findTransformECC(fixed.contrast(), moved, start, cv2.MOTION_AFFINE, stop, mask, blur_px)
        except cv2.error:  # it says so where it does not converge: what it started from is judged anyway
            return matrix
        half = np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5], [0.0, 0.0, 1.0]])
        # From px of the fixed grid to where the moved one has the same, by their indices.
        there = half @ np.vstack([warp, [0.0, 0.0, 1.0]]) @ np.linalg.inv(half)
        largest, smallest = np.linalg.svd(there[:2, :2], compute_uv=False)
        if smallest <= 0 or largest / smallest - 1 > fits.ANISOTROPY_MAX:
            return matrix
        matrix = fixed.to_native @ np.linalg.inv(there) @ np.linalg.inv(fixed.to_native) @ matrix
    return matrix


def _found(
    fixed: Raster, moving: Raster, still: NDArray[np.float32], found: SlideMap, level: Level, most: int = MOST_PATCHES
) -> Matches:
    """Confident matches of one level: peaks higher than most that are found at wrong places.

    Patches that are larger than what lies between the held-out blocks serve only to find a place for the smaller ones,
    which every map is fitted to anew; those keep off the held-out blocks.
    """
    is_last = level.tile * fixed.um_per_px <= SMALL_SHARE * BLOCK_UM
    drawn, cover = onto(moving, fixed, found)
    moved = Raster(drawn, fixed.scale, fixed.um_per_px).contrast()
    corner = matches.centres(
        still,
        cover,
        level.tile,
        level.step,
        most,
        held_out=False if is_last else None,
        block=BLOCK_UM / fixed.um_per_px,
    )
    right = matches.find(still, moved, corner, level.tile, level.reach)
    limit = matches.chance_peak(still, moved, corner, level.tile, level.reach, CONFIDENT)
    return right.of(right.peak > limit)


def field(
    pair: Pair, matrix: NDArray[np.float64], steps: tuple[Level, ...], spacing_um: float, stiffness: float
) -> SlideMap:
    """The map with a smooth field that follows the patches of the fitting set; the matrix stays as it is."""
    px_per_um = 1 / SlideMap(matrix).pixel_size_um
    width, height = pair.fixed.size_px
    size = (width * pair.fixed.scale[0], height * pair.fixed.scale[1])
    spacing = max(spacing_um * px_per_um, float(np.sqrt(size[0] * size[1] / fits.NODES_MAX)))
    found = SlideMap(matrix)
    for level in steps:
        fixed, moving = pair.fixed.at(level.um_per_px), pair.moving.at(level.um_per_px)
        some = _found(fixed, moving, fixed.contrast(), found, level, MOST_OF_FIELD)
        some = some.of(fits.agreeing(some, level.within_px))
        if len(some) < 4 * fits.INLIERS_MIN:
            continue
        target: Points = apply(fixed.to_native, some.centre_px)
        source = apply(fixed.to_native, some.centre_px + some.shift_px)
        flat = apply(matrix, found.to_um(source))
        values = fits.smooth_field(flat, target - flat, some.peak, size, spacing, stiffness)
        found = SlideMap(matrix, values, spacing)
    return found
