"""The release: links from the samples' stores into one folder tree, tables and a manifest of content hashes."""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from spotweave.dataset import describe
from spotweave.dataset.layout import FOLDERS
from spotweave.io import file_hash, own_part_path, read_json, remove, remove_parts

QUARANTINE_COLUMNS = ("sample_id", "stage", "reason", "measured", "threshold")
LEFT_OUT_COLUMNS = ("sample_id", "reason")


@dataclass(frozen=True)
class Tables:
    """Where the tables of a release are written, and by which names they stand in it: `name` is that of the dataset."""

    name: str
    table: Path
    quarantine: Path
    left_out: Path
    findings: Path

    def released(self) -> dict[str, Path]:
        """Name in the release -> where it is written."""
        return {
            f"{self.name}.csv": self.table,
            "quarantine.csv": self.quarantine,
            "left_out.csv": self.left_out,
            "metadata_findings.csv": self.findings,
        }


def project(
    shards: Iterable[Path], root: Path, choice: Mapping[str, Iterable[str]], tables: Tables, manifest: Path
) -> list[Path]:
    """Place the files of all accepted samples into the release, remove those of others, write tables and manifest.

    Parameters
    ----------
    shards
        One file a cohort, as `assemble_cohort` writes it.
    root
        Folder of the release.
    choice
        Reason -> samples that the configuration left out.

    Returns
    -------
    The files that were placed.
    """
    samples = [sample for shard in shards for sample in read_json(shard)["samples"]]
    accepted = [sample for sample in samples if sample["refusal"] is None]
    files = [file for sample in accepted for file in sample["files"]]
    for file in tqdm(files, desc="release", disable=None):
        place(Path(file["store"]), root / file["released"])
    for path in leftovers(root, (file["released"] for file in files)):
        remove(path)
    write_table(tables.table, [sample["table"] for sample in accepted], describe.columns())
    refused = [{"sample_id": one["sample_id"], **one["refusal"]} for one in samples if one["refusal"] is not None]
    write_table(tables.quarantine, refused, QUARANTINE_COLUMNS)
    reasons = {sample: reason for reason, names in choice.items() for sample in names}
    left_out = [{"sample_id": sample, "reason": reasons[sample]} for sample in sorted(reasons)]
    write_table(tables.left_out, left_out, LEFT_OUT_COLUMNS)
    findings = describe.metadata_findings({one["sample_id"]: one["row"] for one in samples})
    write_table(tables.findings, findings, describe.FINDING_COLUMNS)
    hashes = {file["released"]: file["sha256"] for file in files}
    hashes |= {name: file_hash(path) for name, path in tables.released().items()}
    write_manifest(manifest, hashes)
    return [root / file["released"] for file in files]


def place(source: Path, target: Path) -> None:
    """Make `target` the same file as `source`: a hard link, or a copy where the file system cannot link."""
    if target.exists() and target.samefile(source):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_parts(target)
    part = own_part_path(target)
    try:
        os.link(source, part)
    except OSError:
        shutil.copy2(source, part)
    part.replace(target)


def leftovers(root: Path, wanted: Iterable[str]) -> list[Path]:
    """Files in the release's folders that belong to no accepted sample."""
    keep = {root / path for path in wanted}
    return sorted(path for name in FOLDERS for path in root.glob(f"{name}/*") if path not in keep)


def write_table(target: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Write rows as CSV (UTF-8, `\\n`); None is blank."""
    with open(target, "w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, fieldnames=columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_manifest(target: Path, hashes: Mapping[str, str]) -> None:
    """Write `sha256  path` lines, sorted by path, as `sha256sum --check` reads them."""
    lines = [f"{digest}  {path}\n" for path, digest in sorted(hashes.items())]
    target.write_text("".join(lines), encoding="utf-8")
