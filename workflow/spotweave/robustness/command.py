"""The whole way of the command: embeddings of a dataset, labels and centres of its patches, one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spotweave.benchmark.embeddings import read_embeddings
from spotweave.benchmark.plain_table import as_csv
from spotweave.errors import Refusal
from spotweave.io import is_refused, read_json, write_text
from spotweave.robustness import margins
from spotweave.robustness.index import best, nearest
from spotweave.robustness.labels import Known, Labels, of_metadata, of_spots, of_table

COLUMNS = (
    *("encoder", "patches", "samples", "labels", "centres", "k", "robustness_index", "support", "knn_accuracy"),
    *("croma_index", "mari", "croma", "croma_tail", "note"),
)
CANDIDATES = (5, 11, 21, 31, 51)
NO_FOLD = -1  # encoders that were trained fold by fold have other embeddings in each, and no index


@dataclass(frozen=True)
class Asked:
    """What is measured: encoders by name, how many patches of a sample at most, the seed they are drawn by, and the
    table of labels (None: the samples' metadata)."""

    encoders: Sequence[str]
    per_sample: int
    seed: int
    table: Path | None


def measure(results: Path, asked: Asked, out: Path | None = None) -> str:
    """Write a row an encoder (`results/benchmark/robustness.csv`, unless `out` says where); says where it is.

    Raises
    ------
    Refusal
        If there are no samples, or the table of labels cannot be read.
    """
    samples = results / "samples"
    metadata = {path.parent.name: path for path in sorted(samples.glob("*/metadata.json")) if not is_refused(path)}
    if not metadata:
        raise Refusal(f"{samples} has no sample that was accepted: run the pipeline first")
    known = of_table(asked.table) if asked.table else of_metadata({k: read_json(v) for k, v in metadata.items()})
    out = out or results / "benchmark" / "robustness.csv"
    table = [_row(encoder, samples, sorted(metadata), known, asked) for encoder in asked.encoders]
    write_text(out, as_csv(COLUMNS, table))
    return f"{out}: {len(table)} rows"


def _row(encoder: str, samples: Path, names: Sequence[str], known: Known, asked: Asked) -> dict[str, Any]:
    parts: list[NDArray[np.float32]] = []
    of_patches: list[tuple[str, str, str]] = []
    used, lacking = 0, []
    for name in names:
        path = samples / name / "embeddings" / f"{encoder}.h5"
        found = None if not path.is_file() or is_refused(path) else read_embeddings(path, NO_FOLD)
        if found is None:
            lacking.append(name)
            continue
        said = of_spots(known, name, found.barcodes.tolist())
        rows = _drawn([row for row, one in enumerate(said) if one is not None], asked, used)
        parts.append(found.features[rows])
        of_patches += [one for row in rows if (one := said[row]) is not None]
        used += bool(len(rows))
    biology, centres, groups = zip(*of_patches, strict=True) if of_patches else ((), (), ())
    labels = Labels(biology, centres, groups)
    row: dict[str, Any] = {"encoder": encoder, "patches": len(biology), "samples": used}
    row |= {"labels": len(set(biology)), "centres": len(set(centres))}
    notes = [f"no embeddings of {', '.join(lacking)}"] if lacking else []
    if labels.fault():
        return row | {"note": "; ".join([*notes, labels.fault()])}
    features = np.concatenate(parts)
    codes = [np.unique(one, return_inverse=True)[1].astype(np.int64) for one in (biology, centres, groups)]
    candidates = [k for k in CANDIDATES if k < len(features)]
    if not candidates:
        return row | {"note": "; ".join([*notes, f"fewer than {CANDIDATES[0] + 1} patches"])}
    index = best(nearest(features, codes[2], max(candidates)), codes[0], codes[1], candidates)
    row |= {"k": index.k, "robustness_index": index.index, "support": index.support, "knn_accuracy": index.accuracy}
    if not margins.is_there():
        return row | {"note": "; ".join([*notes, f"margins need the package croma: {margins.INSTALL}"])}
    try:
        row |= margins.margins(features, labels, candidates)
    except (ValueError, RuntimeError) as why:
        notes.append(f"croma: {why}")
    return row | {"note": "; ".join(notes)}


def _drawn(rows: Sequence[int], asked: Asked, number: int) -> NDArray[np.int64]:
    """At most so many of the rows, in order; the same for all encoders."""
    if len(rows) <= asked.per_sample:
        return np.asarray(rows, dtype=np.int64)
    return np.sort(np.random.default_rng([asked.seed, number]).choice(rows, asked.per_sample, replace=False))
