"""Patches of one grid found again on another: how far each lies from where it should be.

Two sets of patches are used throughout: one to fit maps, one held out to judge them. They share no px: of the blocks of
the working grid a quarter, every second of every second row, is held out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from spotweave.geometry import Points

STRENGTH_MIN = 0.25  # mean square contrast of a patch that shows enough to be found; tissue has about 0.5 to 1
COVER_MIN = 0.9
BLOCK_UM = 100.0  # side of the blocks that are fitted to or held out
CHANCE_PATCHES, CHANCE_MIN = 25, 20
PEAK_UNKNOWN = 0.5  # where too few patches can be looked for at wrong places


@dataclass(frozen=True)
class Matches:
    """Patches found again.

    Attributes
    ----------
    centre_px
        (N, 2) centres of the patches on the fixed grid, px.
    shift_px
        (N, 2) how far from there the other grid has them.
    peak
        (N,) correlation there, -1 to 1.
    """

    centre_px: Points
    shift_px: Points
    peak: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.peak)

    def of(self, chosen: NDArray[np.bool_]) -> Matches:
        """Those that are chosen."""
        return Matches(self.centre_px[chosen], self.shift_px[chosen], self.peak[chosen])


def centres(
    fixed: NDArray[np.float32],
    cover: NDArray[np.bool_],
    tile: int,
    step: int,
    most: int,
    *,
    held_out: bool | None,
    block: float = 0.0,
) -> NDArray[np.intp]:
    """Top-left corners (N, 2: x, y) of patches that show something in `fixed` and are covered by the other.

    Parameters
    ----------
    fixed
        Contrast (H, W).
    cover
        Where the other has a signal.
    tile, step
        Sides of patches and between them, px.
    most
        Above this many, evenly spread ones are taken.
    held_out
        True for the blocks that are held out, one patch in the middle of each; False for patches that share no px with
        them; None for all.
    block
        Side of a block, px.
    """
    height, width = fixed.shape
    if height <= tile or width <= tile:
        return np.empty((0, 2), dtype=np.intp)
    if held_out:
        places = [np.floor(np.arange(1, side / block, 2) * block + (block - tile) / 2) for side in (width, height)]
    else:
        places = [np.arange(0, side - tile + 1, step) for side in (width, height)]
    x, y = np.meshgrid(*(np.round(one[one <= side - tile]) for one, side in zip(places, (width, height), strict=True)))
    corner = np.column_stack([x.ravel(), y.ravel()]).astype(np.intp)
    if held_out is False:
        corner = corner[~(_in_odd(corner[:, 0], tile, block) & _in_odd(corner[:, 1], tile, block))]
    strength = _mean(fixed * fixed, corner, tile)
    covered = _mean(cover.astype(np.float32), corner, tile)
    good = (strength >= STRENGTH_MIN) & (covered >= COVER_MIN)
    corner = corner[good]
    if len(corner) > most:
        corner = corner[np.linspace(0, len(corner) - 1, most).round().astype(np.intp)]
    return corner


def _in_odd(start: NDArray[np.intp], tile: int, block: float) -> NDArray[np.bool_]:
    """Whether a stretch of `tile` px shares some with a block of an odd number."""
    first, last = np.floor(start / block), np.floor((start + tile - 1) / block)
    return np.asarray((first % 2 == 1) | (last % 2 == 1) | (last > first + 1))


def find(
    fixed: NDArray[np.float32],
    moved: NDArray[np.float32],
    corner: NDArray[np.intp],
    tile: int,
    reach: int,
    offset: tuple[int, int] = (0, 0),
) -> Matches:
    """Find patches of `fixed` in `moved` within `reach` px, to a fraction of a px.

    Parameters
    ----------
    fixed, moved
        Contrasts (H, W) of one grid.
    corner
        (N, 2) top-left corners.
    tile, reach
        px.
    offset
        px (x, y) by which the place looked at is moved: a wrong one, for what is found by chance.
    """
    height, width = fixed.shape
    padded = cv2.copyMakeBorder(moved, reach, reach, reach, reach, cv2.BORDER_CONSTANT, value=0)
    shifts = np.full((len(corner), 2), np.nan)
    peaks = np.full(len(corner), -1.0)
    for n, (x, y) in enumerate(corner.tolist()):
        u, v = x + offset[0], y + offset[1]
        if not (0 <= u <= width - tile and 0 <= v <= height - tile):
            continue
        window = padded[v : v + tile + 2 * reach, u : u + tile + 2 * reach]
        template = fixed[y : y + tile, x : x + tile]
        surface: NDArray[Any] = cv2.matchTemplate(window, template, cv2.TM_CCOEFF_NORMED)
        _, peaks[n], _, (j, i) = cv2.minMaxLoc(surface)
        shifts[n] = (j + _between(surface[i], j) - reach, i + _between(surface[:, j], i) - reach)
    good = np.isfinite(shifts[:, 0]) & np.isfinite(peaks)
    return Matches(corner[good] + tile / 2, shifts[good], peaks[good])


def chance_peak(
    fixed: NDArray[np.float32],
    moved: NDArray[np.float32],
    corner: NDArray[np.intp],
    tile: int,
    reach: int,
    share: float,
) -> float:
    """The peak that this share of the patches reaches where they do not belong, on all sides around."""
    away = tile + 2 * reach
    some = corner[:: max(1, len(corner) // CHANCE_PATCHES)]
    peaks: list[float] = []
    around = [(x, y) for x in (-1, 0, 1) for y in (-1, 0, 1) if x or y]
    for offset in [(x * far, y * far) for far in (away, 2 * away) for x, y in around]:
        wrong = find(fixed, moved, some, tile, reach, offset)
        peaks += wrong.peak[np.abs(wrong.shift_px).max(axis=1, initial=0.0) > 0].tolist()
    return float(np.quantile(peaks, 1 - share)) if len(peaks) >= CHANCE_MIN else PEAK_UNKNOWN


def _between(line: NDArray[Any], at: int) -> float:
    """The top of the parabola through three values, relative to the middle one; 0 at a border."""
    if not 0 < at < len(line) - 1:
        return 0.0
    before, here, after = (float(value) for value in line[at - 1 : at + 2])
    bend = before - 2 * here + after
    return 0.0 if bend >= 0 else 0.5 * (before - after) / bend


def _mean(values: NDArray[np.float32], corner: NDArray[np.intp], tile: int) -> NDArray[np.float64]:
    total = cv2.integral(values, sdepth=cv2.CV_64F)
    x, y = corner.T
    return np.asarray((total[y + tile, x + tile] - total[y, x + tile] - total[y + tile, x] + total[y, x]) / tile**2)
