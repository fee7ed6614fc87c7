"""Scales that a protocol may ask predictions on: the scales of expression, and counts as they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spotweave.expression.scales import SCALES

Array = NDArray[np.float64]


def as_counted(counts: Array, totals: Array) -> Array:
    """(N, G) counts, unchanged."""
    return counts


# Beside the scales that networks learn from and biomarkers are measured on: those do not depend on this module.
TARGET_SCALES: Final[dict[str, Callable[[Array, Array], Array]]] = {**SCALES, "counts": as_counted}
