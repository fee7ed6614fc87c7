"""Cox's proportional hazards by Newton's method, for one model or for one of each gene at once.

Cox 1972; tied deaths by Efron 1977 or Breslow 1974; as R's `survival::coxph`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from spotweave.studies.outcomes import Array, Outcomes

EFRON, BRESLOW = "efron", "breslow"
STEPS, HALVINGS = 50, 20
TOLERANCE = 1e-13
# Information of a death by which a direction counts as without any: a gene that is constant, or the sum of others.
LEAST_INFORMATION = 1e-10


@dataclass(frozen=True)
class Cox:
    """One model.

    Attributes
    ----------
    coefficients, errors, p
        (C,) logarithms of hazard ratios by unit of a covariate, their standard errors, Wald's P. All NaN where the
        patients do not determine the model: a covariate is constant or the sum of others, or nobody died.
    likelihood_null, likelihood
        Logarithms of the partial likelihood, of coefficients 0 and of these.
    """

    coefficients: Array
    errors: Array
    p: Array
    likelihood_null: float
    likelihood: float


def fit(outcomes: Outcomes, covariates: Array, ties: str = EFRON) -> Cox:
    """Fit one model to (P, C) covariates."""
    coefficients, errors, likelihoods = _newton(outcomes, covariates[None], ties)
    return Cox(coefficients[0], errors[0], _wald(coefficients[0], errors[0]), *map(float, likelihoods[:, 0]))


def by_gene(outcomes: Outcomes, expression: Array, ties: str = EFRON) -> tuple[Array, Array]:
    """(G,) coefficients and Wald's P of a model of each column of (P, G) by itself; NaN as in `Cox`."""
    coefficients, errors, _ = _newton(outcomes, expression.T[:, :, None], ties)
    return coefficients[:, 0], _wald(coefficients[:, 0], errors[:, 0])


class PartialLikelihood:
    """The logarithm of the partial likelihood of P patients and (P, C) covariates, at any coefficients."""

    def __init__(self, outcomes: Outcomes, covariates: Array, ties: str = EFRON) -> None:
        order = np.argsort(-outcomes.days, kind="stable")
        self._deaths = _Deaths.of(outcomes, order, ties)
        self._covariates = covariates[order][None]

    def at(self, coefficients: Array) -> tuple[float, Array, Array]:
        """It, its (C,) slope and its (C, C) information at (C,) coefficients; 0 where nobody died."""
        if not len(self._deaths.at):
            count = len(coefficients)
            return 0.0, np.zeros(count), np.zeros((count, count))
        value, slope, information = _derivatives(self._deaths, self._covariates, coefficients[None])
        return float(value[0]), slope[0], information[0]


def _wald(coefficients: Array, errors: Array) -> Array:
    return np.array([math.erfc(abs(b / e) / math.sqrt(2)) for b, e in zip(coefficients, errors, strict=True)])


@dataclass(frozen=True)
class _Deaths:
    """Patients by falling days; of each death, who was at risk, and which share of those tied with it is taken off."""

    at: np.ndarray
    last_at_risk: np.ndarray
    tied: np.ndarray
    share: Array

    @classmethod
    def of(cls, outcomes: Outcomes, order: np.ndarray, ties: str) -> _Deaths:
        days, died = outcomes.days[order], outcomes.died[order]
        at = np.flatnonzero(died)
        _, tied, count = np.unique(-days[at], return_inverse=True, return_counts=True)
        within = np.arange(len(at)) - (np.cumsum(count) - count)[tied]
        share = within / count[tied] if ties == EFRON else np.zeros(len(at))
        return cls(at, np.searchsorted(-days, -days[at], side="right") - 1, tied, share)

    def at_risk(self, values: Array) -> Array:
        """(M, D, …) sums of (M, P, …) over those at risk of each death."""
        total = np.cumsum(values, axis=1)[:, self.last_at_risk]
        if not self.share.any():
            return total
        first = np.flatnonzero(np.diff(self.tied, prepend=-1))
        of_tied = np.add.reduceat(values[:, self.at], first, axis=1)[:, self.tied]
        return total - self.share.reshape(-1, *[1] * (values.ndim - 2)) * of_tied


def _newton(outcomes: Outcomes, covariates: Array, ties: str) -> tuple[Array, Array, Array]:
    """(M, C) coefficients and errors, and (2, M) likelihoods, of (M, P, C) covariates."""
    models, _, count = covariates.shape
    order = np.argsort(-outcomes.days, kind="stable")
    deaths = _Deaths.of(outcomes, order, ties)
    # Steps are taken in standard deviations, so that what counts as without information has no unit.
    spread = covariates.std(axis=1)
    known = (np.ptp(covariates, axis=1) > 0).all(axis=1) & bool(len(deaths.at))
    scaled = (covariates - covariates.mean(axis=1, keepdims=True))[:, order] / np.where(spread > 0, spread, 1)[:, None]
    if not len(deaths.at):
        return np.full((models, count), np.nan), np.full((models, count), np.nan), np.zeros((2, models))
    found = np.zeros((models, count))
    likelihood, slope, information = _derivatives(deaths, scaled, found)
    null, least = likelihood, LEAST_INFORMATION * len(deaths.at)
    known &= np.linalg.eigvalsh(information)[:, 0] > least
    moving = known.copy()
    for _ in range(STEPS):
        moving &= np.linalg.eigvalsh(information)[:, 0] > least  # or a coefficient is on its way to infinity
        if not moving.any():
            break
        step = np.zeros_like(found)
        step[moving] = np.linalg.solve(information[moving], slope[moving][..., None])[..., 0]
        tried = _derivatives(deaths, scaled, found + step)
        for _ in range(HALVINGS):
            worse = moving & ~(tried[0] >= likelihood - TOLERANCE * np.abs(likelihood))
            if not worse.any():
                break
            step[worse] /= 2
            tried = _derivatives(deaths, scaled, found + step)
        found, gained = found + step, tried[0] - likelihood
        likelihood, slope, information = tried
        moving &= (np.abs(gained) > TOLERANCE * np.abs(likelihood)) | (np.abs(step).max(axis=1) > TOLERANCE**0.5)
    errors = np.full((models, count), np.nan)
    inverse = np.linalg.pinv(information[known], hermitian=True)
    errors[known] = np.sqrt(np.diagonal(inverse, axis1=1, axis2=2)) / spread[known]
    coefficients = np.where(known[:, None], found / np.where(spread > 0, spread, 1), np.nan)
    return coefficients, errors, np.stack([null, np.where(known, likelihood, np.nan)])


def _derivatives(deaths: _Deaths, covariates: Array, coefficients: Array) -> tuple[Array, Array, Array]:
    """(M,) logarithm of the likelihood, its (M, C) slope and its (M, C, C) information."""
    risk = np.einsum("mpc,mc->mp", covariates, coefficients)
    risk -= risk.max(axis=1, keepdims=True)  # cancels, and nothing overflows
    weight = np.exp(risk)
    total = deaths.at_risk(weight)
    weighted = weight[..., None] * covariates
    mean = deaths.at_risk(weighted) / total[..., None]
    square = deaths.at_risk(weighted[..., None] * covariates[:, :, None, :]) / total[..., None, None]
    information = (square - mean[..., None] * mean[:, :, None, :]).sum(axis=1)
    slope = (covariates[:, deaths.at] - mean).sum(axis=1)
    return (risk[:, deaths.at] - np.log(total)).sum(axis=1), slope, information
