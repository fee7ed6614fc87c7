"""All encoders side by side: one row for each task x protocol x encoder x probe."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

KEYS = ["task", "protocol", "encoder", "probe"]
COLUMNS = [
    *KEYS,
    "n_folds",
    "pearson_mean",
    "pearson_std",
    "pearson_mean_zero",
    "pearson_null95",
    "undefined_share",
    "n_genes",
    "n_spots",
    "rank",
    "note",
]
WHOLE_NUMBERS = ["n_folds", "n_genes", "n_spots", "rank"]
DECIMALS = 6


def read_scores(paths: Iterable[Path]) -> pd.DataFrame:
    """All rows of all `scores.csv`, in an order that does not depend on the order of the paths."""
    text = dict.fromkeys((*KEYS, "test_donors", "note"), str)
    # A task called "null" is a name; only blank cells are missing.
    tables = [pd.read_csv(path, dtype=text, keep_default_na=False, na_values=[""]) for path in paths]
    if not tables:
        return pd.DataFrame(columns=[*KEYS, "fold", "pearson_mean", "pearson_mean_zero", "task_notes", "note"])
    scores = pd.concat([table.astype(object) for table in tables], ignore_index=True)
    scores[["task_notes", "note"]] = scores[["task_notes", "note"]].fillna("")
    return scores.sort_values([*KEYS, "fold"], kind="stable", ignore_index=True)


def rank(scores: pd.DataFrame) -> pd.DataFrame:
    """Average over folds and rank within task and protocol.

    Parameters
    ----------
    scores
        As from `read_scores`.

    Returns
    -------
    leaderboard
        Columns `COLUMNS`, sorted by task, protocol and rank. `pearson_mean` and `pearson_mean_zero` are means over
        folds, `pearson_std` the standard deviation of `pearson_mean` over folds (divided by n, as HEST-Benchmark
        does), `pearson_null95` the mean of the folds' 95th null percentiles, `undefined_share` undefined correlations
        among all, `n_genes` the fewest of a fold, `n_spots` test spots of all folds. The rank goes by
        `pearson_mean_zero`: an undefined correlation must not be better than a bad one. Equal scores share a rank; a
        row without folds has none, and `note` says why.
    """
    rows = [_row(dict(zip(KEYS, key, strict=True)), folds) for key, folds in scores.groupby(KEYS, sort=True)]
    table = pd.DataFrame(rows, columns=COLUMNS)
    if table.empty:
        return table
    placed = table.groupby(["task", "protocol"])["pearson_mean_zero"].rank(ascending=False, method="min")
    table["rank"] = placed
    table[WHOLE_NUMBERS] = table[WHOLE_NUMBERS].astype("Int64")
    return table.sort_values(["task", "protocol", "rank", "encoder", "probe"], ignore_index=True, na_position="last")


def _row(key: dict[str, str], rows: pd.DataFrame) -> dict[str, object]:
    folds = rows[rows["pearson_mean_zero"].notna()]
    numbers: dict[str, object] = {"n_folds": len(folds)}
    if len(folds):
        means = folds["pearson_mean"].astype(float)
        numbers |= {
            "pearson_mean": round(means.mean(), DECIMALS),
            "pearson_std": round(means.std(ddof=0), DECIMALS),
            "pearson_mean_zero": round(folds["pearson_mean_zero"].astype(float).mean(), DECIMALS),
            "pearson_null95": round(folds["pearson_null95"].astype(float).mean(), DECIMALS),
            "undefined_share": round(folds["pearson_undefined"].sum() / folds["n_pearson"].sum(), DECIMALS),
            "n_genes": int(folds["n_genes"].min()),
            "n_spots": int(folds["n_test_spots"].sum()),
        }
    return {**key, **numbers, "note": _notes(rows)}


def _notes(rows: pd.DataFrame) -> str:
    """Every different remark once: the task's, then those of the rows, a fold's reason with its number."""
    notes: list[str] = sorted(set(rows["task_notes"]))
    notes += [
        note if np.isnan(fold) or scored else f"fold {int(fold)}: {note}"
        for fold, scored, note in zip(
            rows["fold"].astype(float), rows["pearson_mean_zero"].notna(), rows["note"], strict=True
        )
    ]
    return "; ".join(dict.fromkeys(note for note in notes if note))


def write(leaderboard: pd.DataFrame, path: Path) -> None:
    """Write the CSV."""
    leaderboard.to_csv(path, index=False, lineterminator="\n")


def cells(leaderboard: pd.DataFrame) -> Sequence[tuple[str, str]]:
    """The (task, protocol) pairs, in order."""
    return list(dict.fromkeys(zip(leaderboard["task"], leaderboard["protocol"], strict=True)))
