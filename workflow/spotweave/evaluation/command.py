"""The whole way of the command: read, evaluated, and written as tables."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spotweave.evaluation.files import Asked, read, read_folds, read_samples
from spotweave.evaluation.maps import draw_map
from spotweave.evaluation.study import Known, Named, Settings, Table, evaluate
from spotweave.evaluation.summary import COLUMNS, as_cells, change, summarise
from spotweave.io import atomic, write_json


def run(results: Path, asked: Asked, out: Path) -> str:
    """Write `evaluation.csv` (every number), `evaluation.json` (means, deviations, changes) and `maps/` below `out`.

    Parameters and errors as those of `write`.
    """
    count = write(results, asked, out / "evaluation.csv", out / "evaluation.json", out / "maps")
    return f"{out / 'evaluation.csv'}: {count} rows of {', '.join(asked.encoders)}"


def write(results: Path, asked: Asked, rows: Path, summarised: Path, maps_folder: Path) -> int:
    """Write every number to `rows` (csv) and means, deviations and changes to `summarised` (json); how many numbers.

    Parameters
    ----------
    results
        The dataset's folder, `results/<dataset>`.
    maps_folder
        Of pictures, where they are asked for.

    Raises
    ------
    Refusal
        A file is missing or contradicts another, or labels meet no spot.
    """
    samples = read_samples(results)
    settings = Settings(seeds=asked.seeds, guard_um=asked.guard_um, regressor=asked.regressor)
    named: list[Named] = []
    maps: dict[str, str] = {}
    said: dict[str, Any] = {}
    for fold, tested in read_folds(results, asked.task):
        tables, known, spots = read(results, samples, asked, fold, tested)
        named += evaluate(tables, known, settings, fold)
        if asked.with_maps:
            maps |= _draw(maps_folder, tables, known, tested)
        said[f"fold {fold}" if fold is not None else "all"] = spots
    summary = summarise(named)
    content = {
        "dataset": results.name,
        "encoders": list(asked.encoders),
        **({"stand_ins": list(asked.stand_ins)} if asked.stand_ins else {}),
        "seeds": list(asked.seeds),
        "spots": said,
        "summary": summary,
        "change": change(summary, asked.encoders),
        "maps": maps,
    }
    cells = as_cells(named)
    with atomic(rows) as part, open(part, "w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, fieldnames=COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(cells)
    write_json(summarised, content)
    return len(cells)


def _draw(folder: Path, tables: Sequence[Table], known: Known, tested: Sequence[str]) -> dict[str, str]:
    """A map of each tested sample, of all without a fold; why there is none, by sample."""
    faults = {}
    for name in tested or known.origins.samples():
        chosen = known.origins.sample == name
        labels = known.labels[chosen] if known.labels is not None else np.full(chosen.sum(), "")
        parts = {table.name: table.embedding[chosen] for table in tables}
        faults[name] = draw_map(folder / f"{name}.png", parts, labels, name)
    return {name: fault for name, fault in faults.items() if fault}
