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


def over_donors(values: Array) -> tuple[Array, NDArray[np.int64]]:
    """Hold every pair of predictors against each other over donors.

    Parameters
    ----------
    values
        (P, D) of each predictor and donor; NaN where there is none.

    Returns
    -------
    p, donors
        (P, P) two-sided P values, not adjusted, NaN with fewer than `LEAST_DONORS` donors; and (P, P) how many donors
        both predictors have a value of.
    """
    difference = values[:, None, :] - values[None, :, :]
    donors = np.isfinite(difference).sum(axis=2)
    enough = donors >= LEAST_DONORS
    many = np.where(enough, donors, LEAST_DONORS)
    mean = np.nansum(difference, axis=2) / many
    variance = np.nansum((difference - mean[:, :, None]) ** 2, axis=2) / (many - 1)
    return np.where(enough, student(mean, np.sqrt(variance / many), many - 1.0), np.nan), donors


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


def possible_ranks(scores: Array, apart: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The best and the worst rank that each predictor may have, 1 being the best.

    Parameters
    ----------
    scores
        (P,), more is better.
    apart
        (P, P) which pairs are told apart.
    """
    better = scores[None, :] > scores[:, None]
    best = 1 + (apart & better).sum(axis=1)
    worst = len(scores) - (apart & better.T).sum(axis=1)
    return best, worst
