"""The manifest of a sample's raw files (`raw.json`), as the fetch stage writes it."""

from __future__ import annotations

from pathlib import Path

from spotweave.io import read_json


def raw_file(manifest: Path, role: str) -> Path:
    """Path of the raw file with a role (`counts`, `spots`, `image`).

    Raises
    ------
    FileNotFoundError
        When the file has gone since it was fetched: the fetch stage must run again.
    """
    files = {entry["role"]: entry for entry in read_json(manifest)["files"]}
    path = Path(files[role]["path"])
    if not path.is_file():
        raise FileNotFoundError(f"{path} ({role}) has gone since it was fetched; delete {manifest} and run again")
    return path
