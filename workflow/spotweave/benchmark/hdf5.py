"""HDF5 of the benchmark: the same content, the same bytes."""

from __future__ import annotations

from collections.abc import Sequence

import h5py
import numpy as np
from numpy.typing import NDArray


def write_text(group: h5py.Group, name: str, values: Sequence[str]) -> None:
    """A dataset of strings of fixed length, UTF-8; `asstr()` reads it."""
    encoded = [value.encode("utf-8") for value in values]
    kind = h5py.string_dtype("utf-8", max([1, *map(len, encoded)]))
    _write(group, name, np.array(encoded, dtype=kind), kind)


def write_numbers(group: h5py.Group, name: str, values: NDArray[np.generic]) -> None:
    """A dataset of numbers."""
    _write(group, name, values, values.dtype)


def read_text(dataset: h5py.Dataset) -> list[str]:
    """The strings of a dataset, in order."""
    return [str(value) for value in dataset.asstr()[...]]


def _write(group: h5py.Group, name: str, values: NDArray[np.generic], kind: np.dtype) -> None:
    # An empty dataset has no chunks, and without chunks there is no compression.
    packed = {"compression": "gzip", "shuffle": True} if values.size else {}
    group.create_dataset(name, data=values, dtype=kind, track_times=False, **packed)
