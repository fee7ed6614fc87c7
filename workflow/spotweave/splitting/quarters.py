"""A quarter of every sample is held out, as the benchmark of eleven methods does with single slides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spotweave.splitting import Asked, Fold, Member
from spotweave.splitting._parts import hold_out_parts

FOLDS_OVER = "part"
FOLDS = 4
COLUMNS = ("guard_um",)
LABEL = "quarters of the same sections are trained and tested on: no score says what another section would get"


def split(members: Sequence[Member], asked: Asked) -> list[Fold]:
    """Four folds, whatever number is asked for."""
    return hold_out_parts(members, asked, FOLDS, quarters)


def quarters(positions_um: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """(N,) 0 to 3: halves by x, each halved by y, of nearly equal numbers of spots."""
    x_um, y_um = positions_um.T
    half = np.empty(len(x_um), dtype=np.int64)
    half[np.lexsort((y_um, x_um))] = np.arange(len(x_um)) * 2 // len(x_um)
    found = half * 2
    for side in (0, 1):
        rows = np.flatnonzero(half == side)
        found[rows[np.lexsort((x_um[rows], y_um[rows]))]] += np.arange(len(rows)) * 2 // max(len(rows), 1)
    return found
