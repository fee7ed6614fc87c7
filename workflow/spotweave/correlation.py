"""Pearson correlation by gene and group of spots (a sample, or a pool of samples)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Values = NDArray[np.floating]

# A vector whose spread is rounding noise of its mean is constant (the threshold of scipy.stats.pearsonr's warning).
CONSTANT_TOLERANCE = 1e-13


def pearson_by_group(target: Values, prediction: Values, groups: NDArray[np.int64]) -> Array:
    """Pearson correlation of each gene over the spots of each group.

    Parameters
    ----------
    target, prediction
        (N, G); taken in double precision.
    groups
        (N,) code of the group of each spot.

    Returns
    -------
    correlation
        (U, G), groups in ascending order of their code; NaN where a vector is constant, has NaN or fewer than two
        spots.
    """
    return np.stack([_pearson(target[groups == group], prediction[groups == group]) for group in np.unique(groups)])


def standardised(values: Values) -> Array:
    """(N, G) columns with mean 0 and norm 1; NaN where constant, or of fewer than two rows."""
    values = values.astype(np.float64)
    mean = values.mean(axis=0)
    centred = values - mean
    norm = np.sqrt(np.einsum("ng,ng->g", centred, centred))
    constant = (norm <= CONSTANT_TOLERANCE * np.abs(mean) * np.sqrt(len(values))) | (len(values) < 2)
    return centred / np.where(constant, np.nan, norm)


def _pearson(target: Values, prediction: Values) -> Array:
    return np.einsum("ng,ng->g", standardised(target), standardised(prediction)).clip(-1, 1)
