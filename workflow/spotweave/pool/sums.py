"""Units summed into spots, a block of units at a time: exact whole numbers, every count in one spot or left out.

Two units of one spot are two rows of one sum; assigning them by index would keep the last (HEST-Library's pooling of
bins loses 98 % and more of the counts that way). A product with the sparse matrix spots x units sums them, and takes
time in the number of entries, not of genes or spots.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

LARGEST = np.iinfo(np.int32).max


class Sums:
    """Sums of units' counts by spot and gene.

    Blocks of units near each other share few spots with other blocks, so what is kept is about as large as the result.
    """

    def __init__(self, spot: NDArray[np.int64], spots: int, genes: int) -> None:
        """Begin with nothing.

        Parameters
        ----------
        spot
            (U,) of each unit, from 0 to `spots` - 1.
        spots, genes
            How many there are.
        """
        self._spot, self._shape = spot, (spots, genes)
        self._first = 0
        self._spots: list[NDArray[np.int64]] = []
        self._parts: list[sparse.csr_matrix] = []
        self._total = 0

    def add(self, block: sparse.csr_matrix, total: int) -> None:
        """Add the counts (K, genes) of the next K units, whole numbers of any type, and `total`, their sum."""
        spot = self._spot[self._first : self._first + block.shape[0]]
        self._first += block.shape[0]
        self._total += total
        present, local = np.unique(spot, return_inverse=True)
        self._spots.append(present)
        self._parts.append(_product(local, len(present), block, total))

    def result(self) -> sparse.csr_matrix:
        """(spots, genes) int32, or int64 where the counts of all units are 2^31 or more; canonical.

        Raises
        ------
        ValueError
            Not every unit was added.
        """
        if self._first != len(self._spot):
            raise ValueError(f"{self._first} of {len(self._spot)} units were added")
        spots, genes = self._shape
        if not self._parts:
            return sparse.csr_matrix((spots, genes), dtype=np.int32)
        stacked = self._parts[0] if len(self._parts) == 1 else sparse.vstack(self._parts, format="csr")
        self._parts = []
        found = _product(np.concatenate(self._spots), spots, stacked, self._total)
        found.sort_indices()
        return found


def _product(
    group: NDArray[np.int64] | NDArray[np.intp], groups: int, counts: sparse.csr_matrix, total: int
) -> sparse.csr_matrix:
    """Rows of `counts` summed by group; no sum can be larger than `total`, the sum of all of them."""
    kind = np.int32 if total <= LARGEST else np.int64
    ones = np.ones(len(group), dtype=kind)
    chosen = sparse.csr_matrix((ones, (group, np.arange(len(group)))), shape=(groups, len(group)))
    whole = sparse.csr_matrix(
        (counts.data.astype(kind, copy=False), counts.indices, counts.indptr), shape=counts.shape, copy=False
    )
    return sparse.csr_matrix(chosen @ whole)
