"""Genes of patients by a Cox model whose absolute coefficients are held small: the benchmark's older way.

Tibshirani 1997; the path of penalties, patients dealt into ten parts and the penalty of the best likelihood of those
left out are those of Simon et al. 2011 (R's `glmnet`), with Breslow's ties as there; the sum of left-out likelihoods is
Verweij and van Houwelingen's 1993. The benchmark of eleven methods (Wang, Chan et al. 2025) gave it the genes of P
below .005 in a model of each, or, where these are fewer than five, the ten of smallest P. How it chose its penalty is
not described; here it is the likelihood.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spotweave.studies import cox
from spotweave.studies.outcomes import Array, Outcomes

P_BELOW, FEWEST, OTHERWISE = 0.005, 5, 10
PENALTIES, PARTS = 100, 10
# Of the largest penalty, the one at which the first gene enters: with more patients than genes, and with fewer.
SMALLEST = (1e-4, 1e-2)
STEPS, SWEEPS, HALVINGS = 100, 1000, 30
TOLERANCE = 1e-9


def candidates(outcomes: Outcomes, expression: Array) -> NDArray[np.int64]:
    """Columns of (P, G) that the LASSO is given, the smallest P first; none whose P is undefined."""
    _, p = cox.by_gene(outcomes, expression)
    order = np.argsort(p, kind="stable")
    below = int((p < P_BELOW).sum())
    found: NDArray[np.int64] = order[: below if below >= FEWEST else min(OTHERWISE, int((~np.isnan(p)).sum()))]
    return found


def path(outcomes: Outcomes, covariates: Array, penalties: Array | None = None) -> tuple[Array, Array]:
    """Coefficients at every penalty, of the mean partial likelihood a patient and covariates of deviation 1.

    Parameters
    ----------
    outcomes, covariates
        P patients, (P, C).
    penalties
        (L,) falling, 0 or more; None for a hundred from the one at which the first gene enters.

    Returns
    -------
    penalties, coefficients
        (L,), and (L, C) by unit of the covariates as they are given; 0 for one that is constant.
    """
    spread = covariates.std(axis=0)
    scaled = (covariates - covariates.mean(axis=0)) / np.where(spread > 0, spread, 1)
    likelihood = cox.PartialLikelihood(outcomes, scaled, cox.BRESLOW)
    count = len(outcomes)
    if penalties is None:
        _, slope, _ = likelihood.at(np.zeros(covariates.shape[1]))
        most = float(np.abs(slope).max(initial=0.0)) / count
        penalties = most * np.geomspace(1, SMALLEST[0 if count > covariates.shape[1] else 1], PENALTIES)
    found = np.zeros((len(penalties), covariates.shape[1]))
    last = found[0]
    for row, penalty in enumerate(penalties):
        last = found[row] = _fitted(likelihood, last, float(penalty), count)
    return penalties, found / np.where(spread > 0, spread, 1)


def choose(outcomes: Outcomes, expression: Array, seed: int, *, as_published: bool = False) -> NDArray[np.int64]:
    """Columns of (P, G) with a coefficient at the penalty of the best likelihood of patients left out.

    Parameters
    ----------
    seed
        Of the ten parts that patients are dealt into.
    as_published
        Positions counted from 0 are taken as counted from 1: of each gene the one before it is taken, and the first
        one's is lost.
    """
    asked = candidates(outcomes, expression)
    if not len(asked):
        return asked
    covariates = expression[:, asked]
    penalties, found = path(outcomes, covariates)
    left_out = _left_out(outcomes, covariates, penalties, seed)
    kept = np.flatnonzero(found[int(np.argmax(left_out))])
    return asked[kept[kept > 0] - 1] if as_published else asked[kept]


def _left_out(outcomes: Outcomes, covariates: Array, penalties: Array, seed: int) -> Array:
    """(L,) sum over parts of the likelihood of all patients less that of those fitted to."""
    parts = np.random.default_rng(seed).permutation(len(outcomes)) % min(PARTS, len(outcomes))
    whole = cox.PartialLikelihood(outcomes, covariates, cox.BRESLOW)
    total = np.zeros(len(penalties))
    for part in range(parts.max() + 1):
        own = parts != part
        fitted_to = cox.PartialLikelihood(outcomes[own], covariates[own], cox.BRESLOW)
        _, found = path(outcomes[own], covariates[own], penalties)
        total += [whole.at(one)[0] - fitted_to.at(one)[0] for one in found]
    return total


def _fitted(likelihood: cox.PartialLikelihood, start: Array, penalty: float, count: int) -> Array:
    """Newton's steps, of each the quadratic minimised under the penalty by coordinates, halved until it is better."""
    at = start.copy()
    value, slope, information = likelihood.at(at)
    worth = value / count - penalty * np.abs(at).sum()
    for _ in range(STEPS):
        step = _minimised(at, slope / count, information / count, penalty) - at
        for _ in range(HALVINGS):
            tried = likelihood.at(at + step)
            new = tried[0] / count - penalty * np.abs(at + step).sum()
            if new >= worth:
                break
            step /= 2
        else:
            break
        at, (value, slope, information), worth = at + step, tried, new
        if np.abs(step).max(initial=0.0) < TOLERANCE:
            break
    return at


def _minimised(at: Array, slope: Array, information: Array, penalty: float) -> Array:
    """(C,) the least of the quadratic about `at` with the penalty, a coordinate at a time."""
    found, curved = at.copy(), np.diagonal(information)
    left = slope.copy()
    for _ in range(SWEEPS):
        moved = 0.0
        for column in np.flatnonzero(curved > 0):
            pull = left[column] + curved[column] * found[column]
            new = np.sign(pull) * max(abs(pull) - penalty, 0.0) / curved[column]
            by = new - found[column]
            if by:
                left -= information[:, column] * by
                found[column] = new
                moved = max(moved, abs(by))
        if moved < TOLERANCE / 10:
            break
    return found
