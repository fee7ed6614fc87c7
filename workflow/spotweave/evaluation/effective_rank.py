"""How many directions an embedding fills."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def rankme(embedding: NDArray[np.floating]) -> float:
    """RankMe of an (N, D) embedding: exp of the entropy of its singular values, as shares of their sum.

    Garrido et al. 2023; HEST-1k, section 7. From 1 (one direction, or nothing but zeros) to min(N, D).
    """
    values = np.linalg.svd(embedding.astype(np.float64), compute_uv=False)
    share = values[values > 0] / values.sum() if values.any() else np.ones(1)
    return float(np.exp(-(share * np.log(share)).sum()))
