"""The release: links from the samples' stores into one folder tree, tables and a manifest of content hashes."""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from spotweave.dataset.layout import FOLDERS
from spotweave.io import own_part_path, remove_parts

QUARANTINE_COLUMNS = ("sample_id", "stage", "reason", "measured", "threshold")
LEFT_OUT_COLUMNS = ("sample_id", "reason")


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
    return sorted(path for name in FOLDERS for path in (root / name).glob("*") if path not in keep)


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
