"""Rows of numbers in a file: as many pairs as a disk holds, read by their numbers."""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Of the files: those of a job that was killed are found by it.
PREFIX = "pairs-"


class RowsOnDisk:
    """Rows of one shape and type, appended and then read in any order; the file is gone with what made it.

    Reads go through the system's cache of files; of this process's own memory they take what the rows asked for take.
    Sent to another process, it reads the same file.

    Parameters
    ----------
    folder
        On the disk that holds them; None for the system's folder of temporary files.
    """

    def __init__(self, shape: tuple[int, ...], dtype: type, folder: Path | None = None) -> None:
        self.row_shape, self.dtype = shape, np.dtype(dtype)
        self.row_bytes = int(np.prod(shape)) * self.dtype.itemsize
        handle, path = tempfile.mkstemp(dir=folder, prefix=PREFIX)
        self.path, self.count = Path(path), 0
        self.file: Any = os.fdopen(handle, "r+b")
        # Whoever removed the folder has removed the file too.
        weakref.finalize(self, self.path.unlink, missing_ok=True)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "file"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.file = open(self.path, "rb")  # noqa: SIM115

    @property
    def shape(self) -> tuple[int, ...]:
        """As an array's: rows first."""
        return (self.count, *self.row_shape)

    def __len__(self) -> int:
        return self.count

    def append(self, rows: NDArray[np.generic]) -> None:
        """Add rows (n, *shape) behind the others."""
        if rows.shape[1:] != self.row_shape or rows.dtype != self.dtype:
            raise ValueError(f"rows {rows.shape[1:]} {rows.dtype}, expected are {self.row_shape} {self.dtype}")
        self.file.write(np.ascontiguousarray(rows).data)
        self.file.flush()
        self.count += len(rows)

    def __getitem__(self, numbers: ArrayLike) -> NDArray[np.generic]:
        """(n, *shape) rows of these numbers, in their order."""
        wanted = np.asarray(numbers, np.int64)
        if len(wanted) and not (wanted.min() >= 0 and wanted.max() < self.count):
            raise IndexError(f"row {wanted.max()} of {self.count}")
        found = np.empty((len(wanted), *self.row_shape), self.dtype)
        flat: Any = found.reshape(-1).view(np.uint8)
        for place, number in enumerate(wanted.tolist()):
            part = flat[place * self.row_bytes : (place + 1) * self.row_bytes]
            if os.preadv(self.file.fileno(), [part], number * self.row_bytes) != self.row_bytes:
                raise OSError(f"row {number} of a scratch file is cut short")
        return found

    def chunks(self, size: int = 4096) -> Iterator[NDArray[np.generic]]:
        """All rows in their order, some at a time."""
        for start in range(0, self.count, size):
            yield self[np.arange(start, min(start + size, self.count))]
