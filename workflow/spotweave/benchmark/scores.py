"""Pearson correlation by gene and unit (a sample, or a pool of samples), and its null distribution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# A vector whose spread is rounding noise of its mean is constant (the threshold of scipy.stats.pearsonr's warning).
CONSTANT_TOLERANCE = 1e-13


@dataclass(frozen=True)
class Summary:
    """Scores of one fold.

    Attributes
    ----------
    by_gene
        (G,) mean over units; NaN where undefined in all of them.
    mean
        Mean of `by_gene` over the genes that have one; NaN if none has.
    mean_zero
        Mean over units and genes with undefined correlations counted as 0.
    undefined
        Number of undefined correlations among units x genes.
    """

    by_gene: Array
    mean: float
    mean_zero: float
    undefined: int


def pearson_by_unit(target: Array, prediction: Array, units: NDArray[np.int64]) -> Array:
    """Pearson correlation of each gene over the spots of each unit.

    Parameters
    ----------
    target, prediction
        (N, G).
    units
        (N,) code of the unit of each spot.

    Returns
    -------
    correlation
        (U, G), units in ascending order of their code; NaN where a vector is constant or has fewer than two spots.
    """
    return np.stack([_pearson(target[units == unit], prediction[units == unit]) for unit in np.unique(units)])


def _pearson(target: Array, prediction: Array) -> Array:
    return np.einsum("ng,ng->g", _standardised(target), _standardised(prediction)).clip(-1, 1)


def _standardised(values: Array) -> Array:
    """Columns with mean 0 and norm 1; NaN where constant."""
    values = values.astype(np.float64)
    mean = values.mean(axis=0)
    centred = values - mean
    norm = np.sqrt(np.einsum("ng,ng->g", centred, centred))
    constant = (norm <= CONSTANT_TOLERANCE * np.abs(mean) * np.sqrt(len(values))) | (len(values) < 2)
    return centred / np.where(constant, np.nan, norm)


def summarise(correlation: Array) -> Summary:
    """Average (U, G) correlations over units, then genes."""
    defined = ~np.isnan(correlation)
    filled = np.where(defined, correlation, 0.0)
    units_defined = defined.sum(axis=0)
    by_gene = np.divide(
        filled.sum(axis=0), units_defined, out=np.full(correlation.shape[1], np.nan), where=units_defined > 0
    )
    has_score = units_defined > 0
    return Summary(
        by_gene,
        mean=float(by_gene[has_score].mean()) if has_score.any() else float("nan"),
        mean_zero=float(filled.mean()),
        undefined=int((~defined).sum()),
    )


def null_means(
    target: Array,
    prediction: Array,
    units: NDArray[np.int64],
    samples: NDArray[np.int64],
    *,
    permutations: int,
    seed: int,
) -> Array:
    """Mean over genes when predictions are dealt to other spots of the same sample.

    All genes of a spot move together, so genes stay as correlated as they are. For a pooled unit the differences
    between samples stay in the null: they are what pooling rewards.

    Returns
    -------
    means
        (permutations,) as `Summary.mean_zero`, the number that ranks go by.
    """
    random = np.random.default_rng(seed)
    order = np.argsort(samples, kind="stable")
    starts = np.flatnonzero(np.diff(samples[order], prepend=samples[order][0] - 1))
    spots_by_sample = np.split(order, starts[1:])
    codes = np.unique(units)
    members = [np.flatnonzero(units == unit) for unit in codes]
    left, right = np.empty_like(target, dtype=np.float64), np.empty_like(prediction, dtype=np.float64)
    for spots in members:
        left[spots], right[spots] = _standardised(target[spots]), _standardised(prediction[spots])
    means = np.empty(permutations)
    shuffled = np.empty(len(target), dtype=np.int64)
    for number in range(permutations):
        for spots in spots_by_sample:
            shuffled[spots] = random.permutation(spots)
        products = left * right[shuffled]
        means[number] = summarise(np.stack([products[spots].sum(axis=0) for spots in members])).mean_zero
    return means
