"""Large tables, parquet or delimited text, plain or packed with gzip, in batches of bounded size."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from spotweave.deposits.opening import GZIP_MAGIC, check_parquet, parsing, seekable, unpacked
from spotweave.deposits.raw import RawFile
from spotweave.errors import Refusal

PARQUET_MAGIC = b"PAR1"
ROWS_AT_ONCE = 1 << 18
BYTES_AT_ONCE = 1 << 24
BUFFER_BYTES = 1 << 20  # of each column: a row group may be the whole file


@dataclass(frozen=True)
class Table:
    """An open table.

    Attributes
    ----------
    name
        The file's, for messages.
    columns
        Those of the wanted columns that are there.
    unused
        The others that are there.
    rows
        How many there are; None for text, where nobody knows before the end.
    batches
        The wanted columns, at most a few hundred thousand rows at a time. Text has the types asked for, parquet its
        own.
    compression
        How most of a parquet file is packed (`snappy`, `zstd` …), `none` of text.
    """

    name: str
    columns: tuple[str, ...]
    unused: list[str]
    rows: int | None
    batches: Iterator[pa.RecordBatch]
    compression: str = "none"


@contextmanager
def open_table(
    raw: RawFile, wanted: Mapping[str, pa.DataType], needed: Sequence[str], *, whole: bool = False
) -> Iterator[Table]:
    """Open a table.

    Parameters
    ----------
    raw
        The file; what it is shows in its first bytes, not in its name.
    wanted
        Columns to read where they are there, with the type they have in text.
    needed
        Those it cannot do without.
    whole
        All columns in the order of the file: text ones of parquet as dictionaries, those of text that are not wanted as
        text.

    Raises
    ------
    Refusal
        The file is empty, damaged or no such table; also while its batches are read.
    """
    with open(raw.path, "rb") as handle:
        head = handle.read(len(PARQUET_MAGIC))
    if not head:
        raise Refusal(f"{raw.name}: the file is empty; download it again")
    is_packed = head.startswith(GZIP_MAGIC)
    with ExitStack() as stack:
        with parsing(raw.name):
            table = _open(raw, is_packed, head, _Wish(wanted, needed, whole), stack)
        # Only what reading raises is a fault of the file; what the caller raises meanwhile is the caller's.
        yield replace(table, batches=_guarded(raw, table.batches))


@dataclass(frozen=True)
class _Wish:
    """What `open_table` was asked for."""

    wanted: Mapping[str, pa.DataType]
    needed: Sequence[str]
    whole: bool


def _open(raw: RawFile, is_packed: bool, head: bytes, wish: _Wish, stack: ExitStack) -> Table:
    if is_packed:
        with unpacked(raw) as packed:
            head = packed.read(len(PARQUET_MAGIC))
    if head.startswith(PARQUET_MAGIC):
        path = stack.enter_context(seekable(raw))  # parquet is read from its end
        file = stack.enter_context(pyarrow.parquet.ParquetFile(path, buffer_size=BUFFER_BYTES))
        check_parquet(raw.name, file, path.stat().st_size)
        if wish.whole:
            texts = [field.name for field in file.schema_arrow if _is_text(field.type)]
            file = stack.enter_context(
                pyarrow.parquet.ParquetFile(path, buffer_size=BUFFER_BYTES, read_dictionary=texts)
            )
        return _of_parquet(raw, file, wish)
    return _of_text(raw, stack.enter_context(unpacked(raw)), wish)


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_binary(kind)


def _guarded(raw: RawFile, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    while True:
        with parsing(raw.name):
            batch = next(batches, None)
        if batch is None:
            return
        yield batch


def _of_parquet(raw: RawFile, file: pyarrow.parquet.ParquetFile, wish: _Wish) -> Table:
    header = [str(name) for name in file.schema_arrow.names]
    columns = _columns(raw, header, wish)
    batches = in_batches(file, columns, ROWS_AT_ONCE)
    unused = [name for name in header if name not in columns and not name.startswith("__index_level_")]
    packed = file.metadata.row_group(0).column(0).compression.lower() if file.metadata.num_row_groups else "none"
    return Table(raw.name, columns, unused, file.metadata.num_rows, batches, packed)


def in_batches(file: pyarrow.parquet.ParquetFile, columns: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
    """Batches of some columns, at most so many rows each, in bounded memory.

    Asked for group after group of rows: over a whole file, Arrow keeps what it has read of every group until the end.
    """
    for group in range(file.metadata.num_row_groups):
        yield from file.iter_batches(batch_size=rows, row_groups=[group], columns=list(columns))


def _of_text(raw: RawFile, stream: BinaryIO, wish: _Wish) -> Table:
    buffered = io.BufferedReader(cast(Any, stream), 1 << 20)
    line = buffered.readline(1 << 16)
    header = next(csv.reader([line.decode("utf-8-sig").rstrip("\r\n")]), [])
    columns = _columns(raw, header, wish)
    reader = (
        pyarrow.csv.open_csv(
            pa.PythonFile(buffered, mode="r"),
            read_options=pyarrow.csv.ReadOptions(column_names=header, block_size=BYTES_AT_ONCE),
            convert_options=pyarrow.csv.ConvertOptions(
                include_columns=list(columns),
                column_types={name: wish.wanted.get(name, pa.string()) for name in columns},
            ),
        )
        if buffered.peek(1)
        else ()
    )
    return Table(raw.name, columns, [name for name in header if name not in columns], None, iter(reader))


def _columns(raw: RawFile, header: Sequence[str], wish: _Wish) -> tuple[str, ...]:
    missing = [name for name in wish.needed if name not in header]
    if missing:
        raise Refusal(
            f"{raw.name}: no column {', '.join(missing)}; the file has {', '.join(header)[:200] or 'no header'}; "
            "download it again and check the address"
        )
    read = header if wish.whole else wish.wanted
    twice = [name for name in read if header.count(name) > 1]
    if twice:
        raise Refusal(f"{raw.name}: two columns are called {twice[0]!r}; remove one")
    return tuple(name for name in read if name in header)


def text(column: pa.Array) -> pa.Array:
    """A column as text; bytes, categories and whole numbers become it, what is missing stays missing."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return pc.cast(column, pa.string())


def numbers(column: pa.Array) -> NDArray[np.float64]:
    """A column as float64, NaN where it is missing."""
    return np.asarray(pc.cast(column, pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)


def flags(column: pa.Array) -> NDArray[np.bool_]:
    """A column of yes and no (also 0 and 1) as bool, False where it is missing."""
    values = pc.fill_null(pc.cast(column, pa.bool_()), False)
    return np.asarray(values.to_numpy(zero_copy_only=False), dtype=np.bool_)
