"""A start made better: patches are found again on finer and finer grids, and the map follows those that agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spotweave.geometry import Points, apply
from spotweave.register import fits, matches
from spotweave.register.matches import Matches
from spotweave.register.rasters import Raster
from spotweave.register.warping import onto
from spotweave.slide_map import SlideMap

ROUNDS = 3
SETTLED_PX = 0.3
BLOCK_UM = matches.BLOCK_UM
MOST_PATCHES = 3000
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
        Level(working_um, 64, 32, 16, 8.0),
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
            found = _found(
                fixed, moving, still, SlideMap(matrix), level, held_out=False if level is steps[-1] else None
            )
            step = fits.correction(found, level.within_px, affine=len(found) >= 4 * fits.INLIERS_MIN)
            if step is None:
                break
            matrix = fixed.to_native @ step @ np.linalg.inv(fixed.to_native) @ matrix
            width, height = fixed.size_px
            corners = np.array([[0, 0], [width, 0], [0, height], [width, height]], dtype=np.float64)
            if np.abs(apply(step, corners) - corners).max() < SETTLED_PX:
                break
    return matrix


def _found(
    fixed: Raster, moving: Raster, still: NDArray[np.float32], found: SlideMap, level: Level, *, held_out: bool | None
) -> Matches:
    """Confident matches of one level: peaks higher than nearly all that are found at wrong places."""
    drawn, cover = onto(moving, fixed, found)
    moved = Raster(drawn, fixed.scale, fixed.um_per_px).contrast()
    corner = matches.centres(
        still,
        cover,
        level.tile,
        level.step,
        MOST_PATCHES,
        held_out=held_out,
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
        some = _found(fixed, moving, fixed.contrast(), found, level, held_out=False)
        some = some.of(fits.agreeing(some, level.within_px))
        if len(some) < 4 * fits.INLIERS_MIN:
            continue
        target: Points = apply(fixed.to_native, some.centre_px)
        source = apply(fixed.to_native, some.centre_px + some.shift_px)
        flat = apply(matrix, found.to_um(source))
        values = fits.smooth_field(flat, target - flat, some.peak, size, spacing, stiffness)
        found = SlideMap(matrix, values, spacing)
    return found
