"""The whole way of the command: patches cut again and embedded, probes fitted, one table."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from spotweave import protocols
from spotweave.benchmark.fitting import Cell
from spotweave.benchmark.plain_table import as_csv
from spotweave.embeddings.sample import embed_sample
from spotweave.errors import Refusal
from spotweave.folds import samples_of, shared_samples
from spotweave.io import read_json, write_text
from spotweave.sensitivity.changes import ALL, Change, with_pools
from spotweave.sensitivity.measure import COLUMNS, Task, Tried, rows
from spotweave.sensitivity.store import Stored, read_stored, recut


@dataclass(frozen=True)
class Asked:
    """What is measured.

    Attributes
    ----------
    encoders
        Name -> row of the encoder table.
    probes, protocols, metrics
        Names; no protocols stand for all that the task was run under.
    block_um
        Side of the blocks of tissue that are drawn again.
    seed, device, batch, weights_folder
        As for `embed_sample`.
    """

    encoders: Mapping[str, Mapping[str, str]]
    probes: Sequence[str]
    protocols: Sequence[str]
    metrics: Sequence[str]
    block_um: float
    seed: int
    device: str
    batch: int
    weights_folder: Path


def measure(results: Path, task: str, asked: Asked, out: Path | None = None) -> str:
    """Write the table of a task that was run (`results/benchmark/sensitivity.csv`, unless `out` says where).

    Nothing else of `results` is written to. An encoder that cannot be had is a row with its reason. Returns a line that
    says where the table is.

    Raises
    ------
    Refusal
        If the task was not run, or a sample's folder lacks what patches are cut from.
    """
    benchmark = results / "benchmark" / task
    splits = benchmark / "splits.json"
    found = sorted(path.parent.name for path in benchmark.glob("*/targets.h5"))
    lacking = [name for name in asked.protocols if name not in found]
    if not splits.is_file() or not found or lacking:
        under = f" under {', '.join(lacking)}" if lacking else ""
        raise Refusal(f"{benchmark}: task {task} was not run{under}; run its benchmark first")
    content, out = read_json(splits), out or results / "benchmark" / "sensitivity.csv"
    samples = {name: read_stored(results / "samples" / name) for name in samples_of(content)}
    tried = _tried(content, samples)
    table: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="sensitivity-") as place:
        job = Task(content, samples, Path(place), asked.metrics, asked.block_um)
        for encoder, row in asked.encoders.items():
            try:
                embeddings = _embedded(job, encoder, row, [change for change, where in tried if where == ALL], asked)
            except Refusal as refusal:
                table.append({"task": task, "predictor": encoder, "note": refusal.reason})
                continue
            for protocol in asked.protocols or found:
                protocols.load(protocol)
                for probe in asked.probes:
                    cell = Cell(protocol, encoder, probe, asked.seed)
                    table += rows(job, cell, benchmark / protocol / "targets.h5", tried, embeddings)
    write_text(out, as_csv(COLUMNS, table))
    return f"{out}: {len(table)} rows"


def _tried(splits: Mapping[str, Any], samples: Mapping[str, Stored]) -> list[Tried]:
    """All changes and what they reach. Where folds cut samples, a sample has one side's patches: changes reach all."""
    is_cut = any(shared_samples(split) for split in splits["folds"])
    grids = [] if is_cut else sorted(set.intersection(*(set(one.pools) for one in samples.values())))
    return [(change, where) for change in with_pools(grids) for where in change.reaches if where == ALL or not is_cut]


def _embedded(
    job: Task, encoder: str, row: Mapping[str, str], changes: Sequence[Change], asked: Asked
) -> dict[Change, dict[str, Path]]:
    """Change -> sample -> embeddings of its patches, cut anew from its slide; the unchanged ones too."""
    found: dict[Change, dict[str, Path]] = {}
    for number, change in enumerate(tqdm(changes, desc=f"{encoder}: changes", disable=None)):
        found[change] = {}
        for name, stored in job.samples.items():
            patches = job.scratch / f"{number}.{name}.patches.h5"
            path = job.scratch / f"{number}.{name}.h5"
            recut(stored, change, patches)
            embed_sample(
                path,
                patches,
                row,
                slide=stored.slide,
                sample=name,
                encoder=encoder,
                folder=asked.weights_folder,
                seed=asked.seed,
                device=asked.device,
                batch=asked.batch,
            )
            found[change][name] = path
    return found
