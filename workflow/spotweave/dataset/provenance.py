"""Where a sample's files come from: sources, hashes, versions, settings."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from spotweave.io import file_hash, is_refused, read_json

# Libraries whose version can change a released byte.
LIBRARIES = (
    "anndata",
    "h5py",
    "matplotlib",
    "numpy",
    "opencv-contrib-python-headless",
    "pandas",
    "pillow",
    "pyvips",
    "pyvips-binary",
    "scikit-image",
    "scipy",
    "shapely",
)


def describe_files(files: Mapping[str, tuple[str, Path]]) -> dict[str, dict[str, Any]]:
    """Released path -> name in the sample's store, sha256 and size of a file; `files`: released path -> name, where."""
    return {
        released: {"stored": name, "sha256": file_hash(path), "bytes": path.stat().st_size}
        for released, (name, path) in sorted(files.items())
    }


def describe_raw(manifest: Path) -> list[dict[str, Any]]:
    """The raw files of a manifest, without the paths they were kept at; [] where fetching was refused."""
    if is_refused(manifest):
        return []
    kept = ("role", "name", "location", "bytes", "sha256")
    return [{key: entry[key] for key in kept} for entry in read_json(manifest)["files"]]


def describe_origin(
    raw: Sequence[Mapping[str, Any]],
    files: Mapping[str, Any],
    records: Sequence[Mapping[str, Any]],
    settings: Mapping[str, Any],
    licence: str | None,
) -> dict[str, Any]:
    """Everything that made a sample's files; equal for two builds from the same row on the same software."""
    return {
        "raw": list(raw),
        "files": dict(files),
        "licence": licence or "unspecified",
        "settings": dict(settings),
        "code": {record["stage"]: record.get("code") for record in records},
        "versions": {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
    }
