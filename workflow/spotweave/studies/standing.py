"""Ranks of methods in a study: by metric, and their mean in each category."""

from __future__ import annotations

import numpy as np
import pandas as pd

from spotweave.benchmark.categories import ranked
from spotweave.studies.study import BEST, MEASURED

COLUMNS = ("category", "metric", "method", "value", "rank")


def ranks(summary: pd.DataFrame, way: str) -> pd.DataFrame:
    """Rank methods by each metric that has a better end, and by the mean of these ranks.

    Parameters
    ----------
    summary
        `method, category, metric, value`, as `study.Tables` has it; one row of each.
    way
        `donors` or `published`, as `benchmark.categories.ranked` takes them.

    Returns
    -------
    ranks
        `COLUMNS`; `metric` is empty for the mean of a category's ranks. Measured expression is no method and has none.
    """
    rows = []
    methods = sorted(set(summary["method"]) - {MEASURED})
    for category, ends in BEST.items():
        own = summary[summary["category"] == category]
        if own.empty:
            continue
        table = own.pivot(index="method", columns="metric", values="value").reindex(methods)
        found = {metric: ranked(table[metric].to_numpy(np.float64), best, way) for metric, best in ends.items()}
        mean = np.mean(list(found.values()), axis=0)
        for metric, values, own_ranks in [
            *((metric, table[metric].to_numpy(), of_metric) for metric, of_metric in found.items()),
            ("", mean, ranked(mean, "low", way)),
        ]:
            rows += [(category, metric, *row) for row in zip(methods, values, own_ranks, strict=True)]
    return pd.DataFrame(rows, columns=list(COLUMNS)).sort_values(
        ["category", "metric", "rank", "method"], ignore_index=True
    )
