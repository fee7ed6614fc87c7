"""Which of several predictors differ, and the ranks that each of them may have.

Two questions, and two variances. *Would it be so for other donors?* Donors are the unit: each has one value of each
predictor, and the differences of a pair over donors are held against 0 by Student's t. With five donors no signed rank
and no exchange of signs can fall below .05 (2 / 2^5), so a test of ranks would not say more than a count of donors;
Student's t holds its level for donors whose differences are normal, each with a variance of its own, as means over
hundreds of spots are, at any level up to .083 (Bakirov & Szekely 2005; Ibragimov & Mueller, Journal of Business &
Economic Statistics 28, 2010). Below `LEAST_DONORS` there is no verdict. *Is it so on these sections?* The variance is
that of whole blocks of tissue drawn again (`blocks`).

All pairs of a task and protocol are one family, its P values adjusted by Holm (Scandinavian Journal of Statistics 6,
1979): among all that is called different, nothing is wrongly so with a probability of .95. What follows for ranks is
that a predictor may have any from 1 + those told apart and better to all - those told apart and worse, for all
predictors at once with that probability (Mogstad, Romano, Shaikh & Wilhelm, Review of Economic Studies 91, 2024).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]

LEVEL = 0.05
LEAST_DONORS = 5
# Differences whose variance is rounding: such donors are no evidence, whatever they have in common.
SAME = 1e-9


def over_donors(values: Array) -> tuple[Array, NDArray[np.int64], Array]:
    """Hold every pair of predictors against each other over donors.

    Parameters
    ----------
    values
        (P, D) of each predictor and donor; NaN where there is none.

    Returns
    -------
    p, donors, difference
        (P, P) two-sided P values, not adjusted, NaN with fewer than `LEAST_DONORS` donors; (P, P) how many donors both
        predictors have a value of; and (P, P) the first's mean over these less the second's, 0 without any.
    """
    by_donor = values[:, None, :] - values[None, :, :]
    donors = np.isfinite(by_donor).sum(axis=2)
    difference = np.nansum(by_donor, axis=2) / np.maximum(donors, 1)
    enough = donors >= LEAST_DONORS
    many = np.where(enough, donors, LEAST_DONORS)
    variance = np.nansum((by_donor - difference[:, :, None]) ** 2, axis=2) / (many - 1)
    p = student(difference, np.sqrt(variance / many), many - 1.0)
    return np.where(enough, p, np.nan), donors, difference


def student(difference: Array, error: Array, freedom: Array) -> Array:
    """Two-sided P values of differences with their standard errors; 1 where there is no difference."""
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.abs(difference) / error
    return np.where(np.abs(difference) <= SAME, 1.0, 2 * stats.t.sf(t, freedom))


def holm(p: Array) -> Array:
    """(M,) P values adjusted for all that are no NaN."""
    adjusted = np.full(len(p), np.nan)
    there = np.flatnonzero(~np.isnan(p))
    order = there[np.argsort(p[there], kind="stable")]
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def reach(error: Array, freedom: Array) -> Array:
    """How far a 95 % interval reaches to either side of what has this standard error."""
    return np.asarray(stats.t.ppf(1 - LEVEL / 2, freedom) * error)


def possible_ranks(
    difference: Array, apart: NDArray[np.bool_], predictors: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The best and the worst rank that a predictor may have, 1 being the best.

    Parameters
    ----------
    difference
        (..., M) by how much it is better than each of M predictors, itself or none among them, over donors: what
        `apart` was tested on. Scores over folds may point the other way, where folds hold unlike numbers of donors.
    apart
        (..., M) which of them it is told apart from.
    predictors
        How many there are, with itself.
    """
    return 1 + (apart & (difference < 0)).sum(axis=-1), predictors - (apart & (difference > 0)).sum(axis=-1)
