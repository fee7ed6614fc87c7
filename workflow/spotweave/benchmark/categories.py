"""Ranks by metric, their mean in a category, the mean over categories: `category_ranks.csv`.

As the benchmark of eleven methods ranks (Wang, Chan et al. 2025): its data sets are categories, here each task is one.
What it writes of failed methods and what its code does with them differ, so that there are two ways.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from spotweave import metrics
from spotweave.benchmark import averages
from spotweave.benchmark.folds_table import comparable
from spotweave.metrics import Array
from spotweave.ranks import mean_ranks

COLUMNS = ("protocol", "category", "metric", "predictor", "value", "rank")
DONORS, PUBLISHED = "donors", "published"
# Values that differ by less are equal: last bits of another processor must not rank.
TIED_DECIMALS = 12


def ranked(values: Array, best: str, way: str) -> Array:
    """Ranks from 1 for the best, ties share their mean.

    Parameters
    ----------
    values
        (P,) of the predictors, NaN where there is none.
    best
        `high` or `low`.
    way
        `donors`: those without a value are all last, rank P. `published`: they follow the others one after another, in
        the order of the table, as R's `rank` has it.

    Returns
    -------
    ranks
        (P,) float64.
    """
    there = ~np.isnan(values)
    ranks = np.full(len(values), float(len(values)))
    ranks[there] = mean_ranks(np.round(values[there] if best == "low" else -values[there], TIED_DECIMALS))
    if way == PUBLISHED:
        ranks[~there] = np.arange(there.sum(), len(values)) + 1.0
    return ranks


def category_ranks(means: pd.DataFrame, predictors: Mapping[str, Sequence[str]], way: str) -> pd.DataFrame:
    """Rank by metric, by category and over all categories.

    Parameters
    ----------
    means
        `task, protocol, predictor, metric, value`, of the metrics that rank.
    predictors
        All of a protocol, also those that no task has.
    way
        `donors`: who is absent from a category is last in it. `published`: it gets one more than the worst there, cut
        to a whole number: less than one worse where that is a mean of ranks.

    Returns
    -------
    ranks
        `COLUMNS`. With `metric`, `value` is the score in the task, none of who is absent, and `rank` its rank. Without,
        `value` is the mean of the ranks of the category, or of the means of all categories where `category` is empty
        too, and `rank` that of this mean.
    """
    rows: list[pd.DataFrame] = []
    for protocol, own in means.groupby("protocol", sort=True):
        everyone, categories = sorted(predictors[str(protocol)]), {}
        for task, scores in own.groupby("task", sort=True):
            table = scores.pivot(index="predictor", columns="metric", values="value").sort_index()
            present = everyone if way == DONORS else list(table.index)
            table = table.reindex(present)
            ranks = table.apply(lambda column: ranked(column.to_numpy(np.float64), _end(column.name), way))
            for name in table:
                filled = _with_absent(ranks[name], everyone)
                rows.append(_rows(protocol, task, name, table[name].reindex(everyone), filled))
            categories[task] = _with_absent(ranks.mean(axis=1), everyone)
            rows.append(_summary(protocol, task, categories[task], way))
        rows.append(_summary(protocol, "", pd.DataFrame(categories).mean(axis=1), way))
    return pd.concat(rows, ignore_index=True)[list(COLUMNS)] if rows else pd.DataFrame(columns=list(COLUMNS))


def of_boards(
    scores: pd.DataFrame,
    folds: pd.DataFrame,
    splits: Mapping[str, Mapping[str, Any]],
    cohorts: Mapping[str, str],
    names: Sequence[str],
    way: str,
) -> pd.DataFrame:
    """`category_ranks` of the long table.

    Parameters
    ----------
    scores, folds
        As from `long_table.read` and `folds_table.read`.
    splits, cohorts
        Task -> content of its `splits.json`; sample -> its cohort.
    names
        The metrics; each that ranks counts once.
    way
        `donors` averages images, donors, genes, folds; `published` images, cohorts, genes, folds. A predictor that
        lacks folds or spots of others is absent from its task.
    """
    tables = []
    for (task, protocol), own in folds.groupby(["task", "protocol"], sort=True):
        kept = scores[(scores["task"] == task) & (scores["protocol"] == protocol)]
        kept = kept[kept["predictor"].isin(comparable(own)) & kept["metric"].isin([n for n in names if _end(n)])]
        if way == PUBLISHED:
            kept, path = averages.with_cohorts(kept, splits[task], cohorts), averages.COHORTS
        else:
            kept, path = averages.with_donors(kept, splits[task]), averages.DONORS
        tables.append(averages.by_metric(kept, path))
    if not tables:
        return pd.DataFrame(columns=list(COLUMNS))
    predictors = {str(protocol): list(own["predictor"].unique()) for protocol, own in folds.groupby("protocol")}
    texts = ["task", "protocol", "predictor", "metric"]
    return category_ranks(pd.concat(tables, ignore_index=True).astype(dict.fromkeys(texts, str)), predictors, way)


def _end(name: str) -> str:
    return next(iter(metrics.best_of(name).values()), "")


def _with_absent(ranks: pd.Series, everyone: Sequence[str]) -> pd.Series:
    return ranks.reindex(everyone).fillna(np.trunc(ranks.max()) + 1)


def _summary(protocol: Any, category: Any, means: pd.Series, way: str) -> pd.DataFrame:
    ranks = pd.Series(ranked(means.to_numpy(np.float64), "low", way), index=means.index)
    return _rows(protocol, category, "", means, ranks)


def _rows(protocol: Any, category: Any, metric: Any, values: pd.Series, ranks: pd.Series) -> pd.DataFrame:
    # Fixed decimals: sums of floats in another order make no other file.
    table = pd.DataFrame({"predictor": values.index, "value": values.round(9).to_numpy(), "rank": ranks.to_numpy()})
    table = table.sort_values(["rank", "predictor"], ignore_index=True)
    return table.assign(protocol=protocol, category=category, metric=metric)
