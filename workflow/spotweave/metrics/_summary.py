"""Averages over groups, genes and folds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from spotweave.metrics import Array

DECIMALS = 6


def mean_defined(values: Array) -> float:
    """Mean of (U, G) values over groups, then over the genes that have one; NaN if none has."""
    defined = ~np.isnan(values)
    count = defined.sum(axis=0)
    total = np.where(defined, values, 0.0).sum(axis=0)
    by_gene = total[count > 0] / count[count > 0]
    return float(by_gene.mean()) if len(by_gene) else float("nan")


def mean_zero(values: Array) -> float:
    """Mean of (U, G) values over groups and genes; an undefined one counts as 0."""
    return float(np.where(np.isnan(values), 0.0, values).mean())


def over_folds(folds: Sequence[Array], of_fold: Callable[[Array], float]) -> Array:
    """(F,) a number of each fold, with fixed decimals, so that the last bits of another BLAS make no other file.

    Zero is added: they must not decide its sign either.
    """
    return np.array([round(of_fold(values), DECIMALS) for values in folds]) + 0.0


def mean(numbers: Array) -> float:
    """Mean of the numbers that there are; NaN if there is none."""
    there = numbers[~np.isnan(numbers)]
    return float(np.round(there.mean(), DECIMALS) + 0.0) if len(there) else float("nan")


def spread(numbers: Array) -> float:
    """Standard deviation, divided by n as in HEST-Benchmark, of the numbers that there are."""
    there = numbers[~np.isnan(numbers)]
    return float(np.round(there.std(), DECIMALS)) if len(there) else float("nan")
