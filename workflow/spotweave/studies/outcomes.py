"""Patients who were followed, and how well a risk orders them: C-index, median split, log-rank."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Outcomes:
    """What became of P patients.

    Attributes
    ----------
    days
        (P,) float64, above 0, to death or to when the patient was last seen.
    died
        (P,) bool; the others were alive then.
    """

    days: Array
    died: Flags

    def __getitem__(self, some: NDArray[np.int64] | Flags) -> Outcomes:
        return Outcomes(self.days[some], self.died[some])

    def __len__(self) -> int:
        return len(self.days)


@dataclass(frozen=True)
class Concordance:
    """Pairs of patients of whom it is known who died first, and what a risk says of them.

    Attributes
    ----------
    concordant, discordant, tied_risk
        Pairs in which the higher risk died first, died later, or there is none.
    tied_days, tied_both
        Deaths on the same day, of unlike and of equal risk: they count for nothing.
    error
        Standard error of `index` by the infinitesimal jackknife over patients (Therneau's `survival`); NaN without a
        pair.
    """

    concordant: int
    discordant: int
    tied_risk: int
    tied_days: int
    tied_both: int
    error: float

    @property
    def index(self) -> float:
        """Share of pairs in order, ties half (Harrell's C); NaN without a pair."""
        pairs = self.concordant + self.discordant + self.tied_risk
        return (self.concordant + self.tied_risk / 2) / pairs if pairs else math.nan


@dataclass(frozen=True)
class LogRank:
    """Log-rank test of two groups: deaths seen and expected in the first, the latter's variance, chi square, P."""

    observed: float
    expected: float
    variance: float
    chi_square: float
    p: float


def concordance(outcomes: Outcomes, risk: Array) -> Concordance:
    """Count pairs as R's `survival::concordance(reverse = TRUE)`.

    A pair counts if the first of its days is a death; who was last seen on the day of a death lived longer. `risk` is
    (P,), higher for an earlier death.
    """
    days, died = outcomes.days, outcomes.died
    before = died[:, None] & ((days[:, None] < days) | ((days[:, None] == days) & ~died))
    higher, equal = risk[:, None] > risk, risk[:, None] == risk
    ordered = before * (higher + equal / 2)
    pairs = before.sum()
    index = ordered.sum() / pairs if pairs else math.nan
    # What a patient adds to the index: pairs with it as the one who died first, and as the other.
    added = (ordered - index * before).sum(axis=0) + (ordered - index * before).sum(axis=1)
    both = np.triu(died[:, None] & died & (days[:, None] == days), 1)
    return Concordance(
        concordant=int((before & higher).sum()),
        discordant=int((before & ~higher & ~equal).sum()),
        tied_risk=int((before & equal).sum()),
        tied_days=int((both & ~equal).sum()),
        tied_both=int((both & equal).sum()),
        error=float(np.sqrt((added**2).sum()) / pairs) if pairs else math.nan,
    )


def high_risk(risk: Array) -> Flags:
    """(P,) whether a risk is at least the median: of an odd number, or with ties, more than half are."""
    high: Flags = risk >= np.median(risk)
    return high


def log_rank(outcomes: Outcomes, first: Flags, *, early: bool = False) -> LogRank:
    """Whether the patients `first` (P,) die as the others do: one degree of freedom, no continuity correction.

    Mantel's test with the hypergeometric variance at each day of a death (Mantel 1966); `early` weighs a day by the
    share of all who live until then (Peto & Peto 1972; rho = 1 of R's `survdiff`), and the sums are of what is weighed.
    Chi square and P are NaN where nothing can be told: a group without patients, or no death before one has none left.
    """
    observed = expected = variance = 0.0
    weight = 1.0
    for day in np.unique(outcomes.days[outcomes.died]):
        at_risk, dies = outcomes.days >= day, outcomes.died & (outcomes.days == day)
        patients, deaths, share = at_risk.sum(), dies.sum(), (at_risk & first).sum() / at_risk.sum()
        observed += weight * (dies & first).sum()
        expected += weight * deaths * share
        if patients > 1:
            variance += weight**2 * deaths * share * (1 - share) * (patients - deaths) / (patients - 1)
        weight *= 1 - deaths / patients if early else 1.0
    chi_square = (observed - expected) ** 2 / variance if variance > 0 else math.nan
    return LogRank(float(observed), float(expected), float(variance), float(chi_square), _p_of_chi_square(chi_square))


@dataclass(frozen=True)
class Survival:
    """Kaplan and Meier's estimate at D distinct days, ascending: (D,) who was followed, who died, who lives on."""

    days: Array
    at_risk: NDArray[np.int64]
    deaths: NDArray[np.int64]
    share: Array


def kaplan_meier(outcomes: Outcomes) -> Survival:
    """Share of patients alive after each day on which one dies or is last seen (Kaplan & Meier 1958)."""
    days, at = np.unique(outcomes.days, return_inverse=True)
    leave = np.bincount(at, minlength=len(days))
    deaths = np.bincount(at[outcomes.died], minlength=len(days))
    at_risk = len(outcomes) - np.cumsum(leave) + leave
    return Survival(days, at_risk, deaths, np.cumprod(1 - deaths / at_risk))


def _p_of_chi_square(value: float) -> float:
    """The upper tail with one degree of freedom."""
    return math.erfc(math.sqrt(value / 2)) if value >= 0 else math.nan
