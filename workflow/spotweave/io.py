"""Files: written beside and renamed, hashed in streams, JSON that is the same bytes every time."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHUNK_BYTES = 1 << 20


def part_path(path: Path) -> Path:
    """Where `path` is written before it is whole: same folder, same suffix (writers look at suffixes)."""
    return path.with_name(f".part-{path.name}")


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
    part = part_path(path)
    remove(part)
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


def is_empty(path: Path) -> bool:
    """True for the zero-byte file by which a refusal travels."""
    return path.is_file() and path.stat().st_size == 0


def file_hash(path: Path, algorithm: str = "sha256") -> str:
    """Hex digest of a file's content, read in chunks of 1 MiB."""
    digest = hashlib.new(algorithm)
    with open(path, "rb") as handle:
        while chunk := handle.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
