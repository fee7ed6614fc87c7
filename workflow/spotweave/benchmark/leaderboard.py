"""All predictors side by side: one row for each task x protocol x predictor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from spotweave import metrics
from spotweave.benchmark.folds_table import SCORED, beside_the_others
from spotweave.benchmark.long_table import folds_of
from spotweave.benchmark.predictions import ABSENT

KEYS = ["task", "protocol", "predictor"]
WHOLE_NUMBERS = ["n_folds", "n_genes", "n_spots", "components", "rank"]
# How sure a score is and what it is not told apart from: filled by `ties`.
TIES = (
    "score_low",
    "score_high",
    "rank_best",
    "rank_worst",
    "donors",
    "verdict",
    "not_told_apart_from",
    "not_told_apart_on_sections",
)
# What a score may owe to the test side having been seen, and how much was trained on: filled by `leaks`.
SEEN = ("leaks", "training")
# What ranks go by: an undefined correlation must not be better than a bad one.
RANKED_BY = "pearson_mean_zero"
RankedValues = Mapping[tuple[str, ...], Mapping[int, float]]


def columns(names: Sequence[str]) -> list[str]:
    """Columns of the leaderboard for these metrics; Pearson's come first."""
    ordered = sorted(names, key=lambda name: name != metrics.REQUIRED)
    measured = [column for name in ordered for column in metrics.load(name).COLUMNS]
    return [
        *KEYS,
        "encoder",
        "probe",
        "n_folds",
        *measured,
        "n_genes",
        "n_spots",
        "components",
        "rank",
        *TIES,
        *SEEN,
        "note",
    ]


def rank(
    scores: pd.DataFrame, folds: pd.DataFrame, names: Sequence[str], task_notes: Mapping[str, str]
) -> pd.DataFrame:
    """Summarise over folds and rank within task and protocol.

    Parameters
    ----------
    scores, folds
        As from `long_table.read` and `folds_table.read`.
    names
        The metrics to show.
    task_notes
        What the tasks table remarks on a task.

    Returns
    -------
    leaderboard
        Columns as `columns` says, sorted by task, protocol and rank. A metric's columns are explained in its module;
        `n_genes` is the fewest of a fold, `n_spots` counts the scored test spots of all folds, `components` is the
        fewest principal components of a fold, missing for predictors without any. The rank goes by `pearson_mean_zero`.
        `TIES` and `SEEN` are empty. Equal scores share a rank. A row has none, and `note` says why, if it has no
        folds, or lacks a fold or spots that another predictor of its task and protocol was scored on: it may lack the
        hard ones.
    """
    folds, scored = beside_the_others(folds), dict(iter(scores.groupby(KEYS, sort=True, observed=True)))
    rows = [
        _row(dict(zip(KEYS, key, strict=True)), own, scored.get(key, scores.iloc[:0]), names, task_notes)
        for key, own in folds.groupby(KEYS, sort=True)
    ]
    table = pd.DataFrame(rows, columns=columns(names))
    if table.empty:
        return table
    comparable = folds.groupby(KEYS, sort=True)["lacking"].sum().to_numpy() == 0
    ranked = table.assign(score=table[RANKED_BY].where(comparable))
    table["rank"] = ranked.groupby(["task", "protocol"])["score"].rank(ascending=False, method="min")
    table[WHOLE_NUMBERS] = table[WHOLE_NUMBERS].astype("Int64")
    return table.sort_values(["task", "protocol", "rank", "predictor"], ignore_index=True, na_position="last")


def ranked_values(scores: pd.DataFrame) -> RankedValues:
    """Task, protocol and predictor -> fold -> the number that ranks go by, of every one that was scored."""
    pearson = metrics.load(metrics.REQUIRED)
    own = scores[scores["metric"] == metrics.REQUIRED]
    return {
        key: {fold: pearson.summarise([values])[RANKED_BY] for fold, values in folds_of(rows, metrics.REQUIRED).items()}
        for key, rows in own.groupby(KEYS, observed=True)
    }


def _row(
    key: dict[str, str],
    folds: pd.DataFrame,
    scores: pd.DataFrame,
    names: Sequence[str],
    task_notes: Mapping[str, str],
) -> dict[str, object]:
    there = folds[folds["status"] == SCORED]
    row: dict[str, object] = {**key, "encoder": folds["encoder"].iloc[0], "probe": folds["probe"].iloc[0]}
    row |= {"n_folds": len(there), "note": _notes(folds, task_notes.get(key["task"], ""))}
    if len(there):
        row |= {"n_genes": int(there["n_genes"].min()), "n_spots": int(there["n_test_spots"].sum())}
        row |= {"components": there["components"].min()}
        for name in names:
            row |= metrics.load(name).summarise(list(folds_of(scores, name).values()))
    return row


def _notes(folds: pd.DataFrame, task_note: str) -> str:
    """Every different remark once: the task's, then those of the folds, a fold's reason with its number."""
    notes = [task_note, *folds["note"]]
    # A fold that does not exist is nothing that this predictor lacks, unless there is none at all.
    asked = folds[folds["status"] != ABSENT]
    missing = folds if asked.empty else asked[asked["status"] != SCORED]
    if SCORED not in set(folds["status"]) and missing["reason"].nunique() == 1:
        notes.append(missing["reason"].iloc[0])
    else:
        notes += [f"fold {fold}: {why}" for fold, why in zip(missing["fold"], missing["reason"], strict=True)]
    fewer = folds[(folds["status"] == SCORED) & (folds["lacking"] > 0)]
    notes += [
        f"fold {fold}: without {lacking} test spots that others predict"
        for fold, lacking in zip(fewer["fold"], fewer["lacking"], strict=True)
    ]
    return "; ".join(dict.fromkeys(note for note in notes if note))


def write(table: pd.DataFrame, path: Path) -> None:
    """Write the leaderboard, or a table beside it, as CSV."""
    table.to_csv(path, index=False, lineterminator="\n")


def cells(leaderboard: pd.DataFrame) -> Sequence[tuple[str, str]]:
    """The (task, protocol) pairs, in order."""
    return list(dict.fromkeys(zip(leaderboard["task"], leaderboard["protocol"], strict=True)))
