"""Scales of expression: what is predicted, and what is learned from."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy import sparse

Array = NDArray[np.float64]
Counts = TypeVar("Counts", Array, "sparse.csr_matrix")

COUNTS_PER_SPOT = 1e4


def log1p(counts: Array, totals: Array) -> Array:
    """ln(1 + count) of (N, G) counts."""
    return np.log1p(counts)


def log_share(counts: Counts, totals: Array) -> Counts:
    """ln(1 + 10^4 count / total) of (N, G) counts, dense or CSR, and (N,) totals; 0 for a spot without counts."""
    factors = np.divide(COUNTS_PER_SPOT, totals, out=np.zeros_like(totals), where=totals > 0)
    if isinstance(counts, np.ndarray):
        return np.log1p(counts * factors[:, None])
    from scipy import sparse  # targets of the benchmark are dense, and their jobs need no more of scipy

    return sparse.csr_matrix(sparse.diags_array(factors) @ counts).log1p()


SCALES: Final[dict[str, Callable[[Array, Array], Array]]] = {"log1p": log1p, "log_share": log_share}
