"""Released tasks of a run beside published numbers: read from the run's own tables of scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from spotweave.benchmark import folds_table, long_table
from spotweave.benchmark.folds_table import SCORED
from spotweave.benchmark.predictions import ABSENT
from spotweave.io import read_json, write_text
from spotweave.metrics import REQUIRED
from spotweave.released import published

TASK_COLUMNS = ("task", "released", "samples", "folds", "status", "reason")
KEYS = ["task", "protocol", "predictor"]


@dataclass(frozen=True)
class Run:
    """What is known of a run beside its tables.

    Attributes
    ----------
    names
        Task -> the released folder it is read from (`released-idc` -> `IDC`), those left out before the run included.
    left_out
        Task -> why it was left out before the run.
    encoders
        Encoder -> `weights`, what its row says of them, and `code`, the hash of the code that embeds with it.
    fits
        `<probe> <protocol>` -> hash of the code that fits.
    seed
        Of PCA and of random weights.
    """

    names: Mapping[str, str]
    left_out: Mapping[str, str]
    encoders: Mapping[str, Mapping[str, Any]]
    fits: Mapping[str, str]
    seed: int


def scores_of(scores: Path, folds: Path, run: Run) -> tuple[list[dict[str, Any]], dict[tuple[str, str], str]]:
    """Scores as from `scoring.score_task`, and (released folder, encoder) -> why it has none.

    Parameters
    ----------
    scores, folds
        The tables of all tasks and protocols.
    """
    long, by_fold = long_table.read([scores]), folds_table.read([folds])
    long = long[(long["metric"] == REQUIRED) & long["task"].isin(run.names)]
    by_gene = long.groupby([*KEYS, "fold", "gene"], observed=True)["value"].mean()
    means = by_gene.groupby([*KEYS, "fold"], observed=True).mean()
    found, missing = [], {}
    for key, own in by_fold[by_fold["task"].isin(run.names) & (by_fold["probe"] != "")].groupby(KEYS, sort=True):
        task, protocol, _ = key
        encoder, probe = own["encoder"].iloc[0], own["probe"].iloc[0]
        bad = own[own["status"] != SCORED]
        asked = bad[bad["status"] != ABSENT]
        if len(bad):
            missing[run.names[task], encoder] = str((bad if asked.empty else asked)["reason"].iloc[0])
            continue
        of_fold = means.loc[key].sort_index()
        if of_fold.isna().any():
            missing[run.names[task], encoder] = f"fold {of_fold[of_fold.isna()].index[0]}: no correlation is defined"
            continue
        components = own["components"].min()
        found.append(
            {
                "task": run.names[task],
                "protocol": protocol,
                "encoder": encoder,
                "probe": probe,
                "seed": run.seed,
                "components": None if pd.isna(components) else int(components),
                "pearson_mean": float(of_fold.mean()),
                "pearson_std": float(of_fold.std(ddof=0)),
                "folds": of_fold.tolist(),
            }
        )
    missing |= {(run.names[task], encoder): why for task, why in run.left_out.items() for encoder in run.encoders}
    return found, missing


def compare_run(
    scores: Path, folds: Path, splits: Mapping[str, Path], run: Run, out: Path, tasks: Path, ledger: Path
) -> None:
    """Write the comparison and how it went with each task; add to the ledger what it does not have yet.

    Parameters
    ----------
    scores, folds
        The tables of all tasks and protocols.
    splits
        Task -> `splits.json`.
    out, tasks
        CSV files, columns `published.COLUMNS` and `TASK_COLUMNS`.
    ledger
        Lines of JSON; no output of the workflow, as it holds dates.
    """
    found, missing = scores_of(scores, folds, run)
    contents = {task: read_json(path) for task, path in splits.items()}
    rows = published.compare(published.read_published(), found, missing)
    write_text(out, published.as_csv(rows, published.COLUMNS))
    write_text(tasks, published.as_csv(_task_rows(contents, run), TASK_COLUMNS))
    data = {run.names[task]: content["data_sha256"] for task, content in contents.items()}
    entries = [_entry(score, data[score["task"]], run) for score in found]
    published.add_to_ledger(ledger, published.unlisted(ledger, entries))
    print(published.summary(rows))


def _task_rows(contents: Mapping[str, Mapping[str, Any]], run: Run) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for task, name in sorted(run.names.items()):
        content = contents.get(task, {"donors": {}, "folds": [], "reason": run.left_out.get(task)})
        reason = content["reason"]
        sizes = {"samples": len(content["donors"]), "folds": len(content["folds"])}
        rows.append({"task": task, "released": name, **sizes, "status": "refused" if reason else "accepted"})
        rows[-1]["reason"] = reason or ""
    return rows


def _entry(score: Mapping[str, Any], data: str, run: Run) -> dict[str, Any]:
    """A line of the ledger; jobs of a run may have run on several machines, so none is named."""
    encoder = run.encoders[score["encoder"]]
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "code": {"embed_patches": encoder["code"], "fit_probe": run.fits[f"{score['probe']} {score['protocol']}"]},
        "weights": encoder["weights"],
        "data_sha256": data,
        "device": None,
        **score,
    }
