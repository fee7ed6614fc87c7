"""A band of every sample is held out, with a guard band on either side of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spotweave.splitting import Asked, Fold, Member
from spotweave.splitting._parts import hold_out_parts

FOLDS_OVER = "part"
FOLDS = 4
COLUMNS = ("guard_um",)
REQUIRED = ("guard_um",)
LABEL = "parts of the same sections are trained and tested on: no score says what another section would get"


def split(members: Sequence[Member], asked: Asked) -> list[Fold]:
    """One fold a band."""
    return hold_out_parts(members, asked, asked.n_folds or FOLDS, bands)


def bands(positions_um: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """(N,) band of each spot across the longest axis of a sample; bands differ by one spot at most.

    Parameters
    ----------
    positions_um
        (N, 2) x and y.
    """
    centred = positions_um - positions_um.mean(axis=0)
    axis = np.linalg.svd(centred, full_matrices=False)[2][0]
    # Of two opposite axes the one that points right, or else down: which one a library gives is chance. Rounded, so
    # that spots of one line of the array, equal but for rounding, are dealt in the order of their places.
    axis = axis * (1 if axis[np.argmax(np.abs(axis))] > 0 else -1)
    order = np.lexsort((positions_um[:, 1], positions_um[:, 0], np.round(centred @ axis, 3)))
    found = np.empty(len(order), dtype=np.int64)
    found[order] = np.arange(len(order)) * count // len(order)
    return found
