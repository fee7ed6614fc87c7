"""Columns of numbers of our own parquet files, read without pandas, whose import costs more than most such jobs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray


def numbers(path: Path, columns: Sequence[str]) -> list[NDArray[Any]]:
    """(N,) each, of the type they are stored in; NaN where a floating-point number is missing.

    Raises
    ------
    ValueError
        A column is not of numbers, or a whole number is missing.
    """
    table = pq.ParquetFile(path).read(columns=list(columns))
    return [_numbers(path, name, table[name]) for name in columns]


def _numbers(path: Path, name: str, column: pa.ChunkedArray) -> NDArray[Any]:
    # Arrow's own way to numpy imports pandas; the layout of a primitive array is fixed:
    # https://arrow.apache.org/docs/format/Columnar.html#fixed-size-primitive-layout
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise ValueError(f"{path}: column {name!r} is {column.type} and has no numbers")
    if len(column) == 0:
        return np.zeros(0, dtype=column.type.to_pandas_dtype())
    array = column.combine_chunks()
    here = slice(array.offset, array.offset + len(array))
    validity, stored = array.buffers()
    values = np.frombuffer(stored, dtype=column.type.to_pandas_dtype())[here]
    if array.null_count == 0:
        return values
    if pa.types.is_integer(column.type):
        raise ValueError(f"{path}: column {name!r} lacks {array.null_count} values")
    there = np.unpackbits(np.frombuffer(validity, dtype=np.uint8), bitorder="little")[here]
    return np.where(there == 1, values, np.nan).astype(values.dtype)
