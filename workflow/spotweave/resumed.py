"""Rows of numbers that are computed batch by batch and outlive a job that is killed.

A folder holds one file of raw numbers for each table of rows and a count of the rows that are whole in all of them. The
count is bound to a key of everything the numbers come from: with another key a folder begins anew. It is a job's own
scratch, beside its outputs and not among them, and is gone once these are written.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from spotweave.io import read_json, write_json

COUNT = "count.json"
F32 = np.dtype("<f4")


def key_of(*parts: object) -> str:
    """SHA-256 of JSON values, in their order."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def rows_done(folder: Path, key: str, widths: Mapping[str, int]) -> int:
    """How many rows are whole in all tables of a folder; 0 for those of another key. Nothing is changed."""
    try:
        said = read_json(folder / COUNT)
    except (OSError, ValueError):
        return 0
    if said.get("key") != key or said.get("widths") != widths:
        return 0
    whole = [
        _table(folder, number).stat().st_size >= said["done"] * width * F32.itemsize
        for number, width in enumerate(widths.values())
        if _table(folder, number).is_file()
    ]
    return int(said["done"]) if len(whole) == len(widths) and all(whole) else 0


def _table(folder: Path, number: int) -> Path:
    return folder / f"{number}.f32"


class ResumedRows:
    """Tables of float32 rows in a folder, filled from the first row on.

    Parameters
    ----------
    folder
        Made where it does not exist; what another key left in it is thrown away.
    key
        Of what the numbers come from.
    widths
        Table -> numbers in a row.
    """

    def __init__(self, folder: Path, key: str, widths: Mapping[str, int]) -> None:
        self.folder, self.key, self.widths = folder, key, dict(widths)
        self.files: dict[str, BinaryIO] = {}
        self.done = rows_done(folder, key, self.widths)
        if not self.done:
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        for number, (name, width) in enumerate(self.widths.items()):
            path = self._path(number)
            path.touch()
            # Rows of a batch that was cut short are computed again.
            os.truncate(path, self.done * width * F32.itemsize)
            self.files[name] = open(path, "r+b")  # noqa: SIM115  (closed by __exit__)
            self.files[name].seek(0, os.SEEK_END)

    def append(self, rows: Mapping[str, NDArray[np.float32]]) -> None:
        """Add as many rows to each table; they are counted once all of them are on the disk."""
        sizes = {len(values) for values in rows.values()}
        if rows.keys() != self.widths.keys() or len(sizes) != 1:
            raise ValueError(
                f"rows for {sorted(rows)}, {sorted(sizes)} of them; as many are due of {sorted(self.widths)}"
            )
        for name, values in rows.items():
            if values.shape[1:] != (self.widths[name],):
                raise ValueError(f"{name}: rows of {values.shape[1:]} numbers, {self.widths[name]} are due")
            self.files[name].write(np.ascontiguousarray(values, F32).data)
            self.files[name].flush()
            os.fsync(self.files[name].fileno())
        self.done += sizes.pop()
        write_json(self.folder / COUNT, {"key": self.key, "done": self.done, "widths": self.widths})

    def rows(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        """(stop - start, width) rows of a table, read from the disk."""
        width = self.widths[name]
        number = list(self.widths).index(name)
        offset, count = start * width * F32.itemsize, (stop - start) * width
        return np.fromfile(self._path(number), F32, count, offset=offset).reshape(stop - start, width)

    def remove(self) -> None:
        """Throw the folder away: its rows are in an output now."""
        self._close()
        shutil.rmtree(self.folder)

    def _path(self, number: int) -> Path:
        return _table(self.folder, number)

    def _close(self) -> None:
        for file in self.files.values():
            file.close()

    def __enter__(self) -> ResumedRows:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._close()
