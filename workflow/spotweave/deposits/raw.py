"""A sample's raw files and their manifest (`raw.json`), as the fetch stage writes it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from spotweave.io import read_json


@dataclass(frozen=True)
class RawFile:
    """A raw file: `name` as its owner knows it (for messages), `path` where it lies."""

    name: str
    path: Path


def raw_file(manifest: Path, role: str) -> Path:
    """Path of the raw file with a role (`counts`, `spots`, `image`).

    Raises
    ------
    FileNotFoundError
        When the file has gone, or has another size, since it was fetched: the fetch stage must run again.
    """
    files = {entry["role"]: entry for entry in read_json(manifest)["files"]}
    path = Path(files[role]["path"])
    if not path.is_file() or path.stat().st_size != files[role]["bytes"]:
        raise FileNotFoundError(
            f"{path} ({role}) has gone or changed since it was fetched; run again with --forcerun fetch_sample"
        )
    return path


def find_raw(manifest: Path, role: str) -> RawFile | None:
    """The raw file with a role, None where the sample has none; FileNotFoundError as `raw_file`."""
    names = {entry["role"]: entry["name"] for entry in read_json(manifest)["files"]}
    return RawFile(names[role], raw_file(manifest, role)) if role in names else None
