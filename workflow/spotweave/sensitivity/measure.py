"""Probes fitted and scored under every change, beside the unchanged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spotweave import metrics
from spotweave.benchmark import long_table
from spotweave.benchmark.blocks import whole_and_half
from spotweave.benchmark.choosing import spots_of
from spotweave.benchmark.fitting import Cell, predict_fold
from spotweave.benchmark.folds_table import SCORED, FoldRow, comparable, frame
from spotweave.benchmark.leaderboard import RANKED_BY
from spotweave.benchmark.predictions import write_prediction
from spotweave.benchmark.scoring import Scoring, score_fold
from spotweave.benchmark.spread import Spread, SpreadRow
from spotweave.benchmark.targets import Chosen, Targets, write_targets
from spotweave.benchmark.verdicts import reach
from spotweave.expression.samples import with_meeting_genes
from spotweave.folds import samples_of
from spotweave.sensitivity.changes import TEST, UNCHANGED, Change
from spotweave.sensitivity.store import Stored, pooled

COLUMNS = (
    *("task", "protocol", "predictor", "change", "by", "reach", "score"),
    *("value", "difference", "difference_low", "difference_high", "note"),
)

# What is fitted: a change and the samples that it reaches.
Tried = tuple[Change, str]


@dataclass(frozen=True)
class Task:
    """A task that was run: content of its splits, its samples, and a folder for what is needed meanwhile."""

    splits: Mapping[str, Any]
    samples: Mapping[str, Stored]
    scratch: Path
    metrics: Sequence[str]
    block_um: float


def rows(
    task: Task, cell: Cell, targets: Path, tried: Sequence[Tried], embeddings: Mapping[Change, Mapping[str, Path]]
) -> list[dict[str, Any]]:
    """Fit one probe over one encoder under one protocol for all that is tried.

    Parameters
    ----------
    targets
        `targets.h5` of the protocol.
    tried
        The unchanged first.
    embeddings
        Change -> sample id -> embeddings of its patches as they were cut under it.

    Returns
    -------
    rows
        `COLUMNS`, one for each that is tried and each score. `difference` is from the unchanged; its 95 % interval on
        these sections (of the score that ranks go by, where the spots are the same) as blocks of tissue give it.
    """
    scoring = Scoring(task.splits, cell.protocol, task.metrics, cell.seed, task.block_um)
    names = {str(number): one for number, one in enumerate(tried)}
    folds: dict[str, list[FoldRow]] = {}
    columns: dict[str, dict[str, float]] = {}
    with Targets(targets) as own:

        def cut(sample: str) -> Any:
            um_per_px = task.samples[sample].grid.slide_pixel_size_um
            return whole_and_half(sample, own.spots(sample).positions_px, um_per_px, task.block_um, cell.seed)

        spread = Spread(cut)
        for name, (change, where) in names.items():
            used = embeddings[change]
            mixed = [embeddings[UNCHANGED] if where == TEST else used, used]
            if change.grid:
                with Targets(_targets_of_pool(task, change, own)) as other:
                    folds[name], columns[name] = _scored(task, cell, scoring, other, name, mixed, None)
            else:
                folds[name], columns[name] = _scored(task, cell, scoring, own, name, mixed, spread)
    on_same_spots = {name for name, (change, _) in names.items() if not change.grid}
    compared = comparable(frame(row for name in sorted(on_same_spots) for row in folds[name]))
    errors = {
        row.other if row.predictor == "0" else row.predictor: row
        for row in spread.rows(scoring.labels(), compared)
        if "0" in (row.predictor, row.other)
    }
    found = []
    for name, (change, where) in names.items():
        told = {
            "task": scoring.labels()["task"],
            "protocol": cell.protocol,
            "predictor": f"{cell.encoder}+{cell.probe}",
        }
        told |= {"change": change.what, "by": change.by, "reach": where, "note": _note(folds[name])}
        for score, value in columns[name].items():
            row: dict[str, Any] = {**told, "score": score, "value": value}
            if name != "0":
                difference = value - columns["0"].get(score, np.nan)
                row |= {"difference": difference, **_interval(difference, score, errors.get(name))}
            found.append(row)
    return found


def _scored(
    task: Task,
    cell: Cell,
    scoring: Scoring,
    targets: Targets,
    name: str,
    sides: Sequence[Mapping[str, Path]],
    spread: Spread | None,
) -> tuple[list[FoldRow], dict[str, float]]:
    """Rows of the folds and columns of the chosen metrics; `sides` are the embeddings of training and test samples."""
    train, test = sides
    rows_of_folds, parts = [], []
    for split in task.splits["folds"]:
        number = split["fold"]
        used = {**test, **{sample: train[sample] for sample in split["train"]}}
        prediction = predict_fold(cell, number, task.splits, targets, used)
        kept = task.scratch / "prediction.h5"
        write_prediction(kept, prediction)
        labels = {**scoring.labels(), "predictor": name, "fold": number}
        row, table = score_fold(scoring, targets, labels, kept, spread)
        rows_of_folds.append(row)
        parts.append(table.to_pandas())
    columns: dict[str, float] = {}
    for metric in task.metrics:
        values = [value for part in parts for value in long_table.folds_of(part, metric).values()]
        columns |= metrics.load(metric).summarise(values) if values else {}
    return rows_of_folds, columns


def _targets_of_pool(task: Task, change: Change, own: Targets) -> Path:
    """The genes of every fold as they were chosen, with counts of the spots of another grid."""
    path = task.scratch / f"targets.{change.grid}.h5"
    names = samples_of(task.splits)
    genes = {split["fold"]: own.fold(split["fold"]) for split in task.splits["folds"]}
    union = sorted({gene for chosen in genes.values() for gene in chosen.genes})
    read = with_meeting_genes([pooled(task.samples[name], change.grid) for name in names])
    counts = {name: spots_of(one, union) for name, one in zip(names, read, strict=True)}
    write_targets(path, counts, {number: Chosen(one.genes, one.reason) for number, one in genes.items()})
    return path


def _interval(difference: float, score: str, error: SpreadRow | None) -> dict[str, float]:
    """The ends of the 95 % interval, of the score that ranks go by and where the blocks give one."""
    if score != RANKED_BY or error is None or error.error is None or error.freedom is None:
        return {}
    far = float(reach(np.array(error.error), np.array(error.freedom)))
    return {"difference_low": difference - far, "difference_high": difference + far}


def _note(folds: Sequence[FoldRow]) -> str:
    return "; ".join(f"fold {row.fold}: {row.reason}" for row in folds if row.status != SCORED)
