"""Every pair of predictors of a task and protocol, held against each other over donors and on the sections at hand.

The table `comparisons.csv`; the verdicts of the leaderboard are read from it. Compared is what ranks go by,
`pearson_mean_zero`. Predictors that lack folds or spots of others are compared with none.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from spotweave import metrics
from spotweave.benchmark import verdicts
from spotweave.benchmark.folds_table import comparable
from spotweave.benchmark.leaderboard import RANKED_BY, ranked_values
from spotweave.benchmark.long_table import KEYS, units_of
from spotweave.metrics import Array
from spotweave.metrics._summary import mean

COLUMNS = (
    "task",
    "protocol",
    "predictor",
    "other",
    "difference",
    "low",
    "high",
    "p_on_sections",
    "on_sections",
    "donors",
    "difference_over_donors",
    "p_over_donors",
    "verdict",
)
APART, NOT_APART, TOO_FEW, TOO_SMALL = "told apart", "not told apart", "too few donors", "sections too small"
DECIMALS = 6


def donor_values(scores: pd.DataFrame, metric: str, splits: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """What one predictor scores on each donor.

    Parameters
    ----------
    scores
        Rows of one task, protocol and predictor of the long table.
    splits
        Content of `splits.json`.

    Returns
    -------
    values
        Donor -> the metric's columns, each donor once, over its samples. Where spots of several donors are scored
        together they have one value between them and are one unit, named by all.
    """
    donors_of_fold = {split["fold"]: " ".join(split["test_donors"]) for split in splits["folds"]}
    by_donor: dict[str, list[Array]] = {}
    for (fold, sample), values in units_of(scores, metric).items():
        donor = splits["donors"][sample] if sample else donors_of_fold[fold]
        by_donor.setdefault(donor, []).append(values)
    summarise = metrics.load(metric).summarise
    return {
        donor: summarise([np.stack(units)] if units[0].ndim else units) for donor, units in sorted(by_donor.items())
    }


def donor_matrix(by_predictor: Sequence[Mapping[str, Mapping[str, float]]], column: str) -> Array:
    """(P, D) one column of what `donor_values` gives of several predictors; NaN where one has no such donor."""
    donors = sorted({donor for values in by_predictor for donor in values})
    return np.array(
        [[values.get(donor, {}).get(column, np.nan) for donor in donors] for values in by_predictor], dtype=np.float64
    ).reshape(len(by_predictor), len(donors))


def compare(
    scores: pd.DataFrame, folds: pd.DataFrame, splits: Mapping[str, Mapping[str, Any]], spread: pd.DataFrame
) -> pd.DataFrame:
    """Hold all pairs against each other.

    Parameters
    ----------
    scores, folds, spread
        As from `long_table.read`, `folds_table.read` and `spread.read`.
    splits
        Task -> content of its `splits.json`.

    Returns
    -------
    comparisons
        `COLUMNS`, one row a pair, the better one by its folds as `predictor`; sorted as the leaderboard is. `low` and
        `high` are the ends of the 95 % interval of this pair's difference on the sections; the P values are adjusted
        for all pairs of the task and protocol (`verdicts`).
    """
    scored = dict(iter(scores.groupby(list(KEYS), observed=True)))
    ranked = ranked_values(scores)
    errors = spread.set_index(["task", "protocol", "predictor", "other"]).sort_index()
    tables = []
    for (task, protocol), own in folds.groupby(["task", "protocol"], sort=True):
        score_of = {name: mean(np.array([*ranked[task, protocol, name].values()])) for name in comparable(own)}
        names = sorted(score_of, key=lambda name: (-score_of[name], name))
        if len(names) < 2:
            continue
        by_donor = [donor_values(scored[task, protocol, name], metrics.REQUIRED, splits[task]) for name in names]
        values = donor_matrix(by_donor, RANKED_BY)
        means = np.array([score_of[name] for name in names])
        tables.append(_table(task, protocol, names, means, values, errors.loc[(task, protocol)]))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=list(COLUMNS))


def _table(
    task: str, protocol: str, names: Sequence[str], scores: Array, values: Array, errors: pd.DataFrame
) -> pd.DataFrame:
    first, second = np.triu_indices(len(names), 1)
    pairs = list(itertools.combinations(names, 2))  # in the order of the indices
    own = errors.reindex(pd.MultiIndex.from_tuples([tuple(sorted(pair)) for pair in pairs]))
    error, freedom = own["error"].to_numpy(), own["freedom"].to_numpy()
    difference = scores[first] - scores[second]
    reach = verdicts.reach(error, freedom)
    here = verdicts.holm(np.where(np.isnan(error), np.nan, verdicts.student(difference, error, freedom)))
    p, donors, over_donors = verdicts.over_donors(values)
    beyond = verdicts.holm(p[first, second])
    return pd.DataFrame(
        {
            "task": task,
            "protocol": protocol,
            "predictor": [pair[0] for pair in pairs],
            "other": [pair[1] for pair in pairs],
            "difference": difference.round(DECIMALS) + 0.0,
            "low": (difference - reach).round(DECIMALS) + 0.0,
            "high": (difference + reach).round(DECIMALS) + 0.0,
            "p_on_sections": here.round(DECIMALS),
            "on_sections": [_verdict(one, TOO_SMALL) for one in here],
            "donors": donors[first, second],
            "difference_over_donors": over_donors[first, second].round(DECIMALS) + 0.0,
            "p_over_donors": beyond.round(DECIMALS),
            "verdict": [_verdict(one, TOO_FEW) for one in beyond],
        },
        columns=list(COLUMNS),
    )


def _verdict(p: float, none: str) -> str:
    if np.isnan(p):
        return none
    return APART if p <= verdicts.LEVEL else NOT_APART
