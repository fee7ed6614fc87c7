"""How striped a capture area is: rows and columns of bins that catch more or less than those beside them.

Bins of 2 um are not all equally large, so their rows and columns differ. It is measured and never corrected here: what
is removed without being asked for cannot be told from tissue afterwards.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

AROUND = 11  # lines of a running median: beyond it, differences are the tissue's
FEWEST_BINS = 50  # in tissue, of a line that is compared
FEWEST_LINES = 3 * AROUND
TO_SD = 1.4826  # of the median absolute deviation, for a normal distribution


def measure(
    array: tuple[NDArray[np.int64], NDArray[np.int64]], in_tissue: NDArray[np.bool_], totals: NDArray[np.int64]
) -> dict[str, Any]:
    """Stripes of bins.

    Parameters
    ----------
    array
        Row and column, (N,) each.
    in_tissue, totals
        (N,) of the bins; the counts of all genes.

    Returns
    -------
    dict
        `row_stripes` and `column_stripes`: standard deviation of the log of a line's mean counts over those of the
        lines around it, what chance adds taken out (0 where it explains all); `…_by_chance`: what chance alone gives.
        None where too few lines have tissue.
    """
    found: dict[str, Any] = {}
    for name, line in zip(("row", "column"), array, strict=True):
        spread, chance = _spread(line[in_tissue], totals[in_tissue])
        found[f"{name}_stripes"] = None if spread is None else round(float(np.sqrt(max(spread**2 - chance**2, 0))), 4)
        found[f"{name}_stripes_by_chance"] = None if spread is None else round(chance, 4)
    return found


def _spread(line: NDArray[np.int64], totals: NDArray[np.int64]) -> tuple[float | None, float]:
    """Standard deviation, robust, of the log ratios of lines, and what it would be by chance."""
    if not len(line):
        return None, 0.0
    first = int(line.min())
    bins = np.bincount(line - first)
    sums = np.bincount(line - first, weights=totals)
    used = (bins >= FEWEST_BINS) & (sums > 0)
    if used.sum() < FEWEST_LINES:
        return None, 0.0
    level = np.log(sums[used] / bins[used])
    off = level - median_filter(level, AROUND, mode="nearest")
    spread = TO_SD * float(np.median(np.abs(off - np.median(off))))
    # The median of so many lines has some noise of its own: pi / 2 of a mean's.
    return spread, float(np.median(1 / np.sqrt(sums[used])) * np.sqrt(1 + np.pi / 2 / AROUND))
