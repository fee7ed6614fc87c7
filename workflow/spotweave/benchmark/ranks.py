"""Ranks by every column that ranks, with the ranks that the verdicts over donors leave open: `ranks.csv`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from spotweave import metrics
from spotweave.benchmark import verdicts
from spotweave.benchmark.folds_table import comparable
from spotweave.benchmark.long_table import KEYS
from spotweave.benchmark.pairs import donor_matrix, donor_values
from spotweave.metrics import Array

COLUMNS = ("task", "protocol", "score", "predictor", "value", "rank", "rank_best", "rank_worst", "donors")


def rank_all(
    leaderboard: pd.DataFrame,
    scores: pd.DataFrame,
    folds: pd.DataFrame,
    splits: Mapping[str, Mapping[str, Any]],
    names: Sequence[str],
) -> pd.DataFrame:
    """Rank the predictors of each task and protocol by each column that its metric ranks by.

    Parameters
    ----------
    leaderboard, scores, folds
        As from `leaderboard.rank`, `long_table.read` and `folds_table.read`.
    splits
        Task -> content of its `splits.json`.
    names
        The metrics.

    Returns
    -------
    ranks
        `COLUMNS`: `score` is a column of the leaderboard and `value` what stands there, `rank` is 1 for the best, equal
        values share one. From `rank_best` to `rank_worst` are the ranks that pairs told apart over donors leave open,
        `donors` the fewest of a pair. Predictors that lack folds or spots, or the value, are not in it.
    """
    scored = dict(iter(scores.groupby(list(KEYS), observed=True)))
    tables = []
    for (task, protocol), own in folds.groupby(["task", "protocol"], sort=True):
        rows = leaderboard[(leaderboard["task"] == task) & (leaderboard["protocol"] == protocol)]
        rows = rows[rows["predictor"].isin(comparable(own))].set_index("predictor")
        for name in names:
            best = metrics.best_of(name)
            by_donor = {
                predictor: donor_values(scored[task, protocol, predictor], name, splits[task])
                for predictor in rows.index
                if best
            }
            for column, end in best.items():
                there = rows[column].dropna()
                matrix = donor_matrix([by_donor[predictor] for predictor in there.index], column)
                ranked = _ranked(there.to_numpy(dtype=np.float64), matrix, -1.0 if end == "low" else 1.0)
                ranked.insert(0, "predictor", there.index)
                tables.append(ranked.assign(task=task, protocol=protocol, score=column))
    if not tables:
        return pd.DataFrame(columns=list(COLUMNS))
    table = pd.concat(tables, ignore_index=True)[list(COLUMNS)]
    return table.sort_values(["task", "protocol", "score", "rank", "predictor"], ignore_index=True)


def _ranked(values: Array, by_donor: Array, sign: float) -> pd.DataFrame:
    p, donors, difference = verdicts.over_donors(by_donor)
    first, second = np.triu_indices(len(values), 1)
    apart = np.zeros(p.shape, dtype=bool)
    apart[first, second] = apart[second, first] = verdicts.holm(p[first, second]) <= verdicts.LEVEL
    best, worst = verdicts.possible_ranks(sign * difference, apart, len(values))
    return pd.DataFrame(
        {
            "value": values,
            "rank": pd.Series(-sign * values).rank(method="min").astype("Int64"),
            "rank_best": best,
            "rank_worst": worst,
            "donors": donors.min(axis=1) if len(values) else donors.sum(axis=1),
        }
    )
