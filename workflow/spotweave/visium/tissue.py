"""Tissue and counts held against each other: a matrix of Visium says by its spots which of them Space Ranger kept."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from spotweave.deposits.naming import MATRIX
from spotweave.errors import Refusal

FROM_COUNTS = "counts"
NAMED_RAW = re.compile(rf"raw{MATRIX}")
WHOLE_FROM = 0.98  # of the array; a raw matrix lacks the few barcodes without a read
# A filtered matrix holds spots in tissue only, a raw one holds them all. With the positions of another section,
# which has the same barcodes, neither is so.
SAME_SECTION_FROM = 0.95


def refuse_other_section(counts: str, spots: str, in_tissue: NDArray[np.int64], kept: NDArray[np.intp]) -> None:
    """Refuse counts of another section than the positions.

    Parameters
    ----------
    counts, spots
        The files' names.
    in_tissue
        (spots,) 0 or 1.
    kept
        (K,) the spots that have a row in the counts.
    """
    inside = int(in_tissue[kept].sum())
    share = max(inside / len(kept), inside / max(int(in_tissue.sum()), 1))
    if in_tissue.any() and share < SAME_SECTION_FROM:
        raise Refusal(
            f"{counts} and {spots} are of different sections: of {len(kept):,} spots with counts {inside:,} are among"
            f" the {int(in_tissue.sum()):,} in tissue; pair the matrix with the positions of its own section",
            measured=round(share, 4),
            threshold=SAME_SECTION_FROM,
        )


def tissue_by_counts(
    matrix_name: str, spots: int, kept: NDArray[np.intp], totals: NDArray[np.int64]
) -> tuple[NDArray[np.int64], bool]:
    """Which spots are in tissue where only the counts can tell, and whether they can.

    A filtered matrix holds the spots that Space Ranger found in tissue, those without a count too. A raw one holds
    all, since version 1.3 all with a read: there nobody can tell, and every spot with a count is taken, so that both
    kinds of raw matrix read alike and no measured spot is dropped as glass.

    Parameters
    ----------
    matrix_name
        As its owner named it; `raw_feature_bc_matrix` says what it is.
    spots
        Number of spots of the array.
    kept, totals
        (K,) the spots that have a row in the counts, and the sum of each row.

    Returns
    -------
    (spots,) int64, 0 or 1, and whether it is known.
    """
    is_raw = bool(NAMED_RAW.search(matrix_name.lower())) or len(kept) >= WHOLE_FROM * spots
    in_tissue = np.zeros(spots, dtype=np.int64)
    in_tissue[kept[totals > 0] if is_raw else kept] = 1
    return in_tissue, not is_raw
