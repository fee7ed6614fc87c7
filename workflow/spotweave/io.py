"""Files: written beside and renamed, hashed in streams, JSON that is the same bytes every time."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHUNK_BYTES = 1 << 20
# What the outputs of a refused sample hold, whatever their suffix. An empty file is none of these: it is damaged.
REFUSED = b"spotweave: refused; the reason is in the sample's records\n"
# Tells this process's part files from those of another run of the same job.
PROCESS = uuid.uuid4().hex[:12]
_ANY_PROCESS = "[0-9a-f]" * len(PROCESS)


def part_path(path: Path) -> Path:
    """Where a download of `path` is kept until it is whole, for any process to take up: same folder, same suffix."""
    return path.with_name(f".part-{path.name}")


def own_part_path(path: Path) -> Path:
    """Where this process writes `path` before it is whole: same folder, same suffix (writers look at suffixes)."""
    return path.with_name(f".part-{PROCESS}-{path.name}")


def remove_parts(path: Path) -> None:
    """Remove what any process has left of an unfinished `path`."""
    for part in path.parent.glob(f".part-{_ANY_PROCESS}-{glob.escape(path.name)}"):
        remove(part)


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a path to write to; it becomes `path` when the block succeeds and is removed when it does not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = own_part_path(path)
    try:
        yield part
        part.replace(path)
    finally:
        remove(part)


def write_text(path: Path, text: str) -> None:
    """Write text (UTF-8, `\\n`) atomically."""
    with atomic(path) as part, open(part, "w", encoding="utf-8", newline="\n") as handle:
        handle.write(text)


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically: sorted keys, no NaN, one trailing newline."""
    text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_refused(path: Path) -> None:
    """Write the mark by which a refusal travels."""
    path.write_bytes(REFUSED)


def is_refused(path: Path) -> bool:
    """True for the mark by which a refusal travels.

    Raises
    ------
    ValueError
        If the file is empty: nothing that was written whole is.
    """
    size = path.stat().st_size
    if size == 0:
        raise ValueError(f"{path} is empty, so it is damaged: run again, and the job that writes it will")
    return size == len(REFUSED) and path.read_bytes() == REFUSED


def file_hash(path: Path, algorithm: str = "sha256") -> str:
    """Hex digest of a file's content, read in chunks of 1 MiB."""
    digest = hashlib.new(algorithm)
    with open(path, "rb") as handle:
        while chunk := handle.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
