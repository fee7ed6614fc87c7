"""The risk of patients by a few genes: on the patients it was fitted to, or on those held out.

As the benchmark of eleven methods does (Wang, Chan et al. 2025): five genes of smallest P of a Cox model of each, then
one of all five; or, its older way, those that a LASSO keeps. Its published figures choose and fit on all patients, and
judge on the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spotweave.studies import cox, lasso
from spotweave.studies.outcomes import Array, Outcomes, concordance, high_risk, log_rank

GENES, FOLDS, REPEATS = 5, 3, 100
# How genes are chosen: five by P; by the LASSO; by it with its genes shifted by one, as the benchmark's code has it.
FIVE, LASSO, LASSO_PUBLISHED = WAYS = ("five", "lasso", "lasso_published")


@dataclass(frozen=True)
class Judged:
    """A risk of P patients.

    Attributes
    ----------
    risk
        (P,) linear predictor, higher for an earlier death; no unit.
    c_index
        Harrell's, of the risk; held out, the mean over folds and repeats.
    log_rank_p, peto_p
        Of the patients at or above the median risk against the others: Mantel's test, and the one that weighs early
        deaths more.
    c_index_error
        Standard error of the C-index of `risk`, by patients.
    folds
        (R, F) C-indices of the held-out folds, NaN where a fold has no pair; (0, 0) where none was held out.
    """

    risk: Array
    c_index: float
    log_rank_p: float
    peto_p: float
    c_index_error: float
    folds: Array


def choose(outcomes: Outcomes, expression: Array, count: int = GENES) -> NDArray[np.int64]:
    """At most `count` columns of (P, G) by their P, the smallest first, of equal ones the earlier; none undefined."""
    _, p = cox.by_gene(outcomes, expression)
    chosen: NDArray[np.int64] = np.argsort(p, kind="stable")[: min(count, int((~np.isnan(p)).sum()))]
    return chosen


def resubstituted(outcomes: Outcomes, expression: Array, *, way: str = FIVE, seed: int = 0) -> Judged:
    """As published: genes, model and judgement from the same patients; optimistic. `expression` is (P, G)."""
    chosen = _chosen(way, outcomes, expression, seed)
    risk = expression[:, chosen] @ _coefficients(outcomes, expression, chosen)
    return _judged(outcomes, risk, concordance(outcomes, risk).index, np.empty((0, 0)))


def cross_validated(
    outcomes: Outcomes,
    expression: Array,
    seed: int,
    *,
    way: str = FIVE,
    folds: int = FOLDS,
    repeats: int = REPEATS,
) -> Judged:
    """Choose genes and fit on all folds but one, judge on that one, again and again.

    Parameters
    ----------
    outcomes, expression
        P patients, (P, G).
    seed
        Of the folds; the dead are dealt out first, so that each fold has as many. Of the parts of the LASSO too.
    way
        How genes are chosen, one of `WAYS`.

    Returns
    -------
    judged
        `c_index` is the mean over the folds of a repeat, undefined ones skipped, then over repeats; `risk` is the mean
        over repeats of that in the fold that held a patient out, and `log_rank_p` that of its halves.

    Raises
    ------
    ValueError
        Fewer deaths than folds.
    """
    if outcomes.died.sum() < folds:
        raise ValueError(f"{int(outcomes.died.sum())} deaths are too few for {folds} folds; give more patients")
    draw = np.random.default_rng(seed)
    found, fold_of = np.zeros((repeats, len(outcomes))), np.zeros((repeats, len(outcomes)), dtype=np.int64)
    for repeat in range(repeats):
        fold_of[repeat] = _dealt(outcomes, draw, folds)
        for fold in range(folds):
            test = fold_of[repeat] == fold
            found[repeat, test] = _held_out(outcomes[~test], expression[~test], expression[test], way, seed)
    return judged(outcomes, found, fold_of)


def judged(outcomes: Outcomes, found: Array, fold_of: NDArray[np.int64]) -> Judged:
    """What held-out risks are worth.

    Parameters
    ----------
    found, fold_of
        (R, P) risk of each patient in each repeat, and the number, from 0, of the fold that held the patient out.
    """
    c_indices = np.array(
        [
            [concordance(outcomes[folds == fold], risk[folds == fold]).index for fold in range(fold_of.max() + 1)]
            for risk, folds in zip(found, fold_of, strict=True)
        ]
    )
    risk = found.mean(axis=0)
    return _judged(outcomes, risk, _mean_of_repeats(c_indices), c_indices)


def _mean_of_repeats(found: Array) -> float:
    """Mean of (R, F) over the folds of a repeat, then over repeats; undefined ones are skipped, NaN if all are."""
    there = ~np.isnan(found)
    some = there.any(axis=1)
    of_repeat = np.where(there, found, 0).sum(axis=1)[some] / there.sum(axis=1)[some]
    return float(of_repeat.mean()) if len(of_repeat) else float("nan")


def _dealt(outcomes: Outcomes, draw: np.random.Generator, folds: int) -> NDArray[np.int64]:
    """(P,) a fold of each patient; the dead, then the others, in turn."""
    shuffled = draw.permutation(len(outcomes))
    dealt = shuffled[np.argsort(~outcomes.died[shuffled], kind="stable")]
    fold_of = np.empty(len(outcomes), dtype=np.int64)
    fold_of[dealt] = np.arange(len(outcomes)) % folds
    return fold_of


def _chosen(way: str, outcomes: Outcomes, expression: Array, seed: int) -> NDArray[np.int64]:
    if way == FIVE:
        return choose(outcomes, expression)
    return lasso.choose(outcomes, expression, seed, as_published=way == LASSO_PUBLISHED)


def _held_out(outcomes: Outcomes, fitted: Array, judged: Array, way: str, seed: int) -> Array:
    """Risk of other patients, less the mean of those fitted to: what folds of other genes say can then be averaged."""
    chosen = _chosen(way, outcomes, fitted, seed)
    risk: Array = (judged[:, chosen] - fitted[:, chosen].mean(axis=0)) @ _coefficients(outcomes, fitted, chosen)
    return risk


def _coefficients(outcomes: Outcomes, expression: Array, chosen: NDArray[np.int64]) -> Array:
    """0 for all where the model is not determined, which orders nobody."""
    if not len(chosen):
        return np.zeros(0)
    return np.nan_to_num(cox.fit(outcomes, expression[:, chosen]).coefficients)


def _judged(outcomes: Outcomes, risk: Array, c_index: float, folds: Array) -> Judged:
    high = high_risk(risk)
    mantel, peto = log_rank(outcomes, high), log_rank(outcomes, high, early=True)
    return Judged(risk, c_index, mantel.p, peto.p, concordance(outcomes, risk).error, folds)
