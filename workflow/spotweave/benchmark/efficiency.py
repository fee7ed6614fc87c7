"""What each method's folds cost: time and memory as Snakemake measured the jobs, sizes as the predictions state them.

Costs differ from run to run, so the table is made when it is asked for, beside the release and outside its manifest.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from spotweave.benchmark.predictions import PREDICTED, place_of
from spotweave.io import read_json
from spotweave.ranks import mean_ranks

COLUMNS = (
    "task",
    "protocol",
    "method",
    "fold",
    "status",
    "seconds",
    "cpu_seconds",
    "peak_rss_mb",
    "gpu",
    "peak_gpu_mb",
    "parameters",
    "epochs",
    "train_spots",
    "test_spots",
    "note",
)
RANKS = ("task", "protocol", "method", "folds", "seconds_rank", "peak_rss_rank", "parameters_rank", "mean_rank")
# Snakemake's columns, in s and MB; what it could not measure is - or NA.
MEASURED = {"seconds": "s", "cpu_seconds": "cpu_time", "peak_rss_mb": "max_rss"}
NO_TIMING = "no timing: its benchmark file is gone or was never written; forcerun fit_method to have one"
GPU = "gpu.json"
MB_BYTES = 2**20  # Snakemake's


def table(predictions: Sequence[Path], timings: Path, models: Path) -> pd.DataFrame:
    """One row a method and fold.

    Parameters
    ----------
    predictions
        `predictions/{task}/{protocol}/{method}/fold{k}.h5` of methods.
    timings
        Folder of Snakemake's benchmark files of `fit_method`, `{task}.{protocol}.{method}.fold{k}.tsv`.
    models
        Folder of trained networks, `{task}/{protocol}/{method}/fold{k}`; a network trained on a GPU says there which,
        and how much of its memory was taken.

    Returns
    -------
    costs
        `COLUMNS`, sorted: `seconds` of the clock, for training, predicting and reading alike; of a job that went on
        after a kill, those of its last part. `peak_rss_mb` is the job's memory as the system sees it, torch included.
        NaN where nothing was measured or stated, and `note` says why there is no timing.
    """
    rows = [_row(path, timings, models) for path in predictions]
    found = pd.DataFrame(rows, columns=list(COLUMNS))
    return found.sort_values(["task", "protocol", "method", "fold"], ignore_index=True)


def ranks(costs: pd.DataFrame) -> pd.DataFrame:
    """Rank methods by means over the folds that were predicted: 1 for the least, ties share the mean of theirs.

    Parameters
    ----------
    costs
        As from `table`.

    Returns
    -------
    ranks
        `RANKS`, sorted. Methods without a timing have no ranks: a mean over fewer columns would flatter them. `folds`
        is how many were averaged: with unlike numbers they need not be the same work. Memory is averaged as its
        logarithm, as in the benchmark of eleven methods. `parameters_rank` is shown and not averaged; what was not
        trained has none.
    """
    rows: list[tuple[Any, ...]] = []
    told = costs[(costs["status"] == PREDICTED) & costs["seconds"].notna() & costs["peak_rss_mb"].notna()]
    for (task, protocol), own in told.groupby(["task", "protocol"], sort=True):
        means = own.assign(memory=np.log10(own["peak_rss_mb"])).groupby("method", sort=True)
        counts, means = means.size(), means[["seconds", "memory", "parameters"]].mean()
        seconds, memory = (mean_ranks(means[name].to_numpy()) for name in ("seconds", "memory"))
        sizes = np.full(len(means), np.nan)
        there = means["parameters"].notna().to_numpy()
        sizes[there] = mean_ranks(means["parameters"].to_numpy()[there])
        columns = (means.index, counts, seconds, memory, sizes, (seconds + memory) / 2)
        rows += [(task, protocol, *row) for row in zip(*columns, strict=True)]
    return pd.DataFrame(rows, columns=list(RANKS))


def _row(path: Path, timings: Path, models: Path) -> dict[str, Any]:
    method, fold = place_of(path)
    task, protocol = path.parts[-4:-2]
    with h5py.File(path, "r") as file:
        said = file.attrs
        row = {
            "task": task,
            "protocol": protocol,
            "method": method,
            "fold": fold,
            "status": str(said["status"]),
            "parameters": _number(said.get("parameters")),
            "epochs": _number(said.get("epochs")),
            "train_spots": _number(said.get("n_train_spots")),
            "test_spots": len(file["spot"]),
        }
    row |= _timing(timings / f"{task}.{protocol}.{method}.fold{fold}.tsv")
    return row | _gpu(models / task / protocol / method / f"fold{fold}" / GPU)


def _timing(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {**dict.fromkeys(MEASURED, float("nan")), "note": NO_TIMING}
    measured = pd.read_csv(path, sep="\t", na_values=["-", "NA"])
    means = {
        ours: float(measured[theirs].mean()) if theirs in measured else float("nan")
        for ours, theirs in MEASURED.items()
    }
    return {**means, "note": ""}


def _gpu(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {"gpu": "", "peak_gpu_mb": float("nan")}
    said = read_json(path)
    return {"gpu": said["device"], "peak_gpu_mb": said["peak_bytes"] / MB_BYTES}


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)
