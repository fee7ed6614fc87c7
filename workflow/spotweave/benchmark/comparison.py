"""What fine-tuning changed: scores before and after, fold by fold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from spotweave.benchmark.leaderboard import RANKED_BY, ranked_values

DECIMALS = 6


def compare(scores: pd.DataFrame, folds: pd.DataFrame, base: str, tuned: str) -> dict[str, Any]:
    """Pair the folds that the base encoder and the tuned one were both scored on.

    Parameters
    ----------
    scores, folds
        As from `long_table.read` and `folds_table.read`.
    base, tuned
        Names of the two encoders. The compared number is `pearson_mean_zero`, in which an undefined correlation counts
        as 0.

    Returns
    -------
    dict
        `base_encoder`, and `results`: one entry a task x protocol x probe with the paired `folds`, `before`,
        `after` and `difference` of each, and their means. Without common folds the means are None.
    """
    results = []
    values = ranked_values(scores)
    # Methods over the encoder are no probes of it.
    probed = folds[folds["probe"].notna()]
    predictors = probed[probed["encoder"] == base][["task", "protocol", "probe", "predictor"]].drop_duplicates()
    for task, protocol, probe, before in predictors.sort_values(list(predictors)).itertuples(index=False):
        here = folds[(folds["task"] == task) & (folds["protocol"] == protocol) & (folds["probe"] == probe)]
        after = here.loc[here["encoder"] == tuned, "predictor"].unique()
        old = values.get((task, protocol, before), {})
        new = values.get((task, protocol, after[0]), {}) if len(after) else {}
        common = sorted(set(old) & set(new))
        pairs = np.array([[old[fold], new[fold]] for fold in common]).reshape(-1, 2)
        results.append(
            {
                "task": task,
                "protocol": protocol,
                "probe": probe,
                "folds": common,
                "before": pairs[:, 0].tolist(),
                "after": pairs[:, 1].tolist(),
                "difference": (pairs[:, 1] - pairs[:, 0]).round(DECIMALS).tolist(),
                "before_mean": _mean(pairs[:, 0]),
                "after_mean": _mean(pairs[:, 1]),
            }
        )
    return {"base_encoder": base, "score": RANKED_BY, "results": results}


def _mean(values: np.ndarray) -> float | None:
    return round(float(values.mean()), DECIMALS) if len(values) else None
