"""The whole way of the two commands: a folder's tasks scored beside published numbers, and a task of ours exported."""

from __future__ import annotations

import platform
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from spotweave.benchmark.fitting import Cell
from spotweave.benchmark.targets import Targets
from spotweave.embeddings.sample import embed_sample
from spotweave.encoders import patch_fault
from spotweave.errors import Refusal
from spotweave.io import read_json, write_text
from spotweave.released import exporting, published
from spotweave.released.folder import ReleasedTask, read_task, task_names
from spotweave.released.scoring import require_patches, score_task

SCORE_COLUMNS = ("task", "encoder", "probe", "protocol", "seed", "components", "pearson_mean", "pearson_std", "reason")


@dataclass(frozen=True)
class Measuring:
    """How a folder is measured.

    Attributes
    ----------
    encoders
        Name -> row of the encoder table.
    probes, protocol, seed
        What is fitted, and the seed of PCA and of random weights.
    device, batch
        Where networks run, and patches at a time.
    weights_folder
        Where a relative path of a weights file lies.
    code
        Hash of the code that runs.
    """

    encoders: Mapping[str, Mapping[str, str]]
    probes: Sequence[str]
    protocol: str
    seed: int
    device: str
    batch: int
    weights_folder: Path
    code: str


def measure(root: Path, tasks: Sequence[str], measuring: Measuring, out: Path) -> str:
    """Score tasks of a released folder; writes `scores.csv` and `published.csv`, adds to `measured.jsonl` of `out`.

    An encoder that cannot be had is a row with its reason. No tasks stand for all of the folder.

    Raises
    ------
    Refusal
        If the folder cannot be read or believed; nothing is written then.
    """
    # All are read before the first is embedded: hours later is late for a missing file.
    read = [read_task(root, name) for name in tasks or task_names(root)]
    sides = {task.name: {require_patches(one.patches)[2] for one in task.samples.values()} for task in read}
    scores: list[dict[str, Any]] = []
    missing: dict[tuple[str, str], str] = {}
    compared: list[dict[str, str]] = []
    for task in read:
        data = task.data_hash()
        for encoder, row in measuring.encoders.items():
            found: list[dict[str, Any]] = []
            try:
                for side in sorted(sides[task.name]):
                    fault = patch_fault(row, side)
                    if fault:
                        raise Refusal(fault)
                found = _scored(task, encoder, row, measuring, out)
            except Refusal as refusal:
                missing[task.name, encoder] = refusal.reason
            scores += found
            # As each is measured: a hub that cannot be reached for the next encoder takes nothing away.
            published.add_to_ledger(out / "measured.jsonl", [_entry(one, row, data, measuring) for one in found])
            compared = _write_tables(scores, missing, out)
    return published.summary(compared)


def _write_tables(
    scores: Sequence[Mapping[str, Any]], missing: Mapping[tuple[str, str], str], out: Path
) -> list[dict[str, str]]:
    """Write `scores.csv` and `published.csv`; returns the rows of the second."""
    refused = [{"task": task, "encoder": encoder, "reason": why} for (task, encoder), why in missing.items()]
    compared = published.compare(published.read_published(), scores, missing)
    write_text(out / "scores.csv", published.as_csv([*scores, *refused], SCORE_COLUMNS))
    write_text(out / "published.csv", published.as_csv(compared, published.COLUMNS))
    return compared


def export(results: Path, task: str, out: Path, protocol: str) -> str:
    """Write `out/<TASK>` from a benchmark that was run.

    Raises
    ------
    Refusal
        If it was not run, or the layout cannot hold the task.
    """
    benchmark = results / "benchmark" / task
    splits, targets = benchmark / "splits.json", benchmark / protocol / "targets.h5"
    for path in (splits, targets):
        if not path.is_file():
            raise Refusal(f"{path} is not there: run the benchmark of task {task} under {protocol} first")
    content = read_json(splits)
    samples = {name: exporting.stored(results / "samples", name) for name in content["donors"]}
    with Targets(targets) as opened:
        names = exporting.export_task(content, opened, samples, out / task)
    return f"{out / task}: {len(names)} samples, {len(content['folds'])} folds"


def _scored(
    task: ReleasedTask, encoder: str, row: Mapping[str, str], measuring: Measuring, out: Path
) -> list[dict[str, Any]]:
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".part-") as place:
        folder = Path(place)
        embeddings = {name: folder / f"{name}.embeddings.h5" for name in task.samples}
        for name, path in embeddings.items():
            embed_sample(
                path,
                task.samples[name].patches.path,
                row,
                sample=name,
                encoder=encoder,
                folder=measuring.weights_folder,
                seed=measuring.seed,
                device=measuring.device,
                batch=measuring.batch,
            )
        cells = [Cell(measuring.protocol, encoder, probe, measuring.seed) for probe in measuring.probes]
        return [score_task(task, embeddings, cell, folder) for cell in cells]


def _entry(score: Mapping[str, Any], row: Mapping[str, str], data: str, measuring: Measuring) -> dict[str, Any]:
    """A line of the ledger: a number and all that it depends on."""
    weights = {name: row.get(name, "") for name in ("weights", "source", "revision", "sha256") if row.get(name)}
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "code": measuring.code,
        "weights": weights,
        "data_sha256": data,
        "device": _device(measuring.device),
        **{name: score[name] for name in score if name != "folds"},
        "folds": [fold["pearson_mean"] for fold in score["folds"]],
    }


def _device(asked: str) -> str:
    torch = sys.modules.get("torch")
    if torch is not None and asked != "cpu" and torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    return f"cpu {platform.machine()}"
