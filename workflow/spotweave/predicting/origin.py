"""Whom a model learned from: tissue and licence of its training samples, by the dataset that it lies in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from spotweave.io import is_refused, read_json

# Ours -> the column of the dataset's table.
SAID = {"tissue": "tissue", "species": "species", "technology": "st_technology", "licence": "license"}
UNKNOWN = "unknown"


def dataset_of(model: Path) -> Path:
    """The folder of the dataset, of a model at `<dataset>/models/<task>/<protocol>/<method>/fold<k>`.

    Of a model elsewhere, a folder that holds no metadata.
    """
    above = model.resolve().parents
    return above[min(4, len(above) - 1)]


def origin_of(samples: Iterable[str], dataset: Path) -> dict[str, list[str]]:
    """What the dataset's files say of training samples now: every value once, sorted; `unknown` where they do not.

    Licences are read when they are needed and not when a method is fitted: a licence that is corrected trains nothing
    anew.
    """
    rows = [_row(sample, dataset) for sample in samples]
    return {name: sorted({str(row.get(column) or UNKNOWN) for row in rows}) for name, column in SAID.items()}


def _row(sample: str, dataset: Path) -> Mapping[str, Any]:
    for path in (dataset / "samples" / sample / "metadata.json", dataset / "metadata" / f"{sample}.json"):
        if path.is_file() and not is_refused(path):
            found: Mapping[str, Any] = read_json(path)
            return found
    return {}
