"""What fine-tuning changed: an encoder's scores before and after, fold by fold."""

from __future__ import annotations

from typing import Any

import pandas as pd

CELL = ["task", "protocol", "probe"]
SCORE = "pearson_mean_zero"
DECIMALS = 6


def compare(before: pd.DataFrame, after: pd.DataFrame) -> dict[str, Any]:
    """Pair the folds that both encoders were scored on.

    Parameters
    ----------
    before, after
        Rows of `scores.csv` of the base and of the tuned encoder. The compared number is `pearson_mean_zero`,
        in which an undefined correlation counts as 0.

    Returns
    -------
    dict
        `base_encoder`, and `results`: one entry a task x protocol x probe with the paired `folds`, `before`,
        `after` and `difference` of each, and their means. Without common folds the means are None.
    """
    paired = before.merge(after, on=[*CELL, "fold"], suffixes=("_before", "_after"))
    scored = paired.dropna(subset=[f"{SCORE}_before", f"{SCORE}_after"])
    results = []
    for key, _ in before.groupby(CELL, sort=True):
        rows = scored[(scored[CELL] == list(key)).all(axis=1)].sort_values("fold")
        old, new = rows[f"{SCORE}_before"].astype(float), rows[f"{SCORE}_after"].astype(float)
        results.append(
            {
                **dict(zip(CELL, key, strict=True)),
                "folds": rows["fold"].astype(int).tolist(),
                "before": old.round(DECIMALS).tolist(),
                "after": new.round(DECIMALS).tolist(),
                "difference": (new - old).round(DECIMALS).tolist(),
                "before_mean": round(float(old.mean()), DECIMALS) if len(rows) else None,
                "after_mean": round(float(new.mean()), DECIMALS) if len(rows) else None,
            }
        )
    return {"base_encoder": sorted(set(before["encoder"]))[0], "score": SCORE, "results": results}
