"""From the stages of a sample to what is known of it, and from samples to a cohort."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from spotweave.dataset import describe, layout, provenance
from spotweave.io import file_hash, read_json, write_json


def describe_sample(
    sample: str,
    row: Mapping[str, str],
    settings: Mapping[str, Any],
    stages: tuple[Iterable[Path], Path, Iterable[Path]],
    metadata: Path,
    origin: Path,
) -> None:
    """Write a sample's `metadata.json` and `provenance.json`.

    Parameters
    ----------
    row
        The cohort table's, with `cohort`.
    settings
        Of the configuration, those that shaped the sample.
    stages
        The records of its stages in their order, `raw.json`, and the files they made; refused ones among them.
    """
    records, manifest, files = stages
    recorded = [read_json(path) for path in records]
    known = describe.sample_metadata(sample, row, recorded)
    write_json(metadata, known)
    made = {}
    if known["status"] == "accepted":
        stored = {layout.store_name(path.parts): path for path in files}
        kept = sorted(stored.keys() - describe.empty_files(recorded, stored))
        made = provenance.describe_files({layout.released(sample, name): (name, stored[name]) for name in kept})
    raw = provenance.describe_raw(manifest)
    write_json(origin, provenance.describe_origin(raw, made, recorded, settings, row.get("licence")))


def gather_cohort(metadata: Iterable[Path]) -> dict[str, Any]:
    """One entry a sample: `sample_id`, `refusal`, `row`, `table` and, of an accepted one, `files` with their hashes.

    Parameters
    ----------
    metadata
        `metadata.json` of each sample, beside its `provenance.json`.
    """
    return {"samples": [_entry(path) for path in metadata]}


def _entry(path: Path) -> dict[str, Any]:
    metadata, store = read_json(path), path.parent
    entry = {key: metadata[key] for key in ("sample_id", "refusal", "row", "table")}
    if metadata["status"] != "accepted":
        return entry
    sample = metadata["sample_id"]
    described = read_json(store / "provenance.json")["files"]
    made = {path: (known["stored"], known["sha256"]) for path, known in described.items()}
    for name in ("metadata.json", "provenance.json"):
        made[layout.released(sample, name)] = (name, file_hash(store / name))
    files = [
        {"released": path, "store": str(store / name), "sha256": digest}
        for path, (name, digest) in sorted(made.items())
    ]
    return {**entry, "files": files}
