"""What a sample is sketched from: its counts, the names of its genes, and the places of its units on the array."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from spotweave import h5ad

PLACE = ("array_col", "array_row")


@dataclass(frozen=True)
class Counted:
    """Counts of a sample.

    Attributes
    ----------
    counts
        (N, G) raw counts, CSR, units x genes.
    genes
        (G,) their names.
    places
        (N, 2) int64, column and row on the array; None where there is none.
    """

    counts: csr_matrix
    genes: Sequence[str]
    places: NDArray[np.int64] | None

    @classmethod
    def read(cls, path: Path) -> Counted:
        """From `expression.h5ad`."""
        with h5py.File(path) as file:
            obs = file["obs"]
            has_array = h5ad.has_column(obs, PLACE[0])
            places = np.column_stack([h5ad.column(obs, name) for name in PLACE]).astype(np.int64) if has_array else None
            return cls(h5ad.counts(file), h5ad.names(file["var"]).tolist(), places)
