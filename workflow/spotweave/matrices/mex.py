"""Market Exchange: a sparse matrix of genes x barcodes beside a list of genes and one of barcodes.

Cell Ranger 2 writes `genes.tsv` (id, symbol), 3 and later `features.tsv.gz` (id, symbol, type); copies are packed,
unpacked, prefixed, and some were written by R with quotes, a header or a column of row numbers. The lists are joined
to the matrix by their order, which is the format's own rule, after their lengths are held against it.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from spotweave.deposits.opening import FREE_BYTES, MOST_RATIO, parsing, read_bytes, unpacked
from spotweave.deposits.raw import RawFile
from spotweave.errors import Refusal
from spotweave.matrices.features import (
    BIOTYPES,
    ENSEMBL,
    GENE_EXPRESSION,
    GENE_TYPES,
    OTHER_TYPES,
    need_no_check,
)
from spotweave.matrices.matrix import (
    Matrix,
    canonical,
    find_fault,
    how_often,
    refuse_fault,
)

MAGIC = b"%%MatrixMarket"
ENTRIES_AT_ONCE = 1 << 20
BYTES_AT_ONCE = 1 << 20
MOST_DIGITS = 18  # of a whole number that int64 holds
MOST_INT32 = int(np.iinfo(np.int32).max)
SHORTEST_ENTRY = len(b"1 1 1\n")
UTF8_BOM = "\ufeff"
BARCODE = re.compile(r"[ACGTN]{14,}|s_\d{3}um_\d+_\d+|cellid_\d+|[a-p]{8}-\d+")
# Last names of the headers that R and people put over these lists.
HEADERS = re.compile(
    r"x|v\d|barcodes?|cells?|spots?|genes?|(gene_?)?(names?|symbols?|ids?)|feature_?types?|type", re.IGNORECASE
)


def read(counts: RawFile, features: RawFile | None, barcodes: RawFile | None, *, is_packed: bool) -> Matrix:
    """Read one triplet; `is_packed` if the matrix is packed with gzip."""
    if features is None or barcodes is None:
        absent = " and ".join(role for role, given in (("features", features), ("barcodes", barcodes)) if given is None)
        raise Refusal(
            f"{counts.name}: a matrix in Market Exchange format without its list of {absent}; name the file in the"
            f" column {absent} of the row"
        )
    matrix = _read_mtx(counts, is_packed)
    unit_rows, gene_rows = _read_list(barcodes), _read_list(features)
    unit_rows, gene_rows, is_turned = _fit(counts, matrix.shape, features, gene_rows, barcodes, unit_rows)
    units = _unit_names(unit_rows)
    names, ids, types = _gene_columns(gene_rows)

    def entry(unit: int, gene: int) -> str:
        return f"gene {names[gene]!r}, barcode {units[unit]!r}"

    rows, columns = (matrix.rows, matrix.columns) if is_turned else (matrix.columns, matrix.rows)
    other = need_no_check(types, names, ids)
    if other.any():
        matrix.values[other[columns]] = 0  # may hold what are no counts (mean intensities of proteins, sums)
    fault = find_fault(matrix.values)
    if fault:
        raise refuse_fault(counts.name, fault, entry(int(rows[fault.index]), int(columns[fault.index])))
    whole = _compress(rows, columns, matrix.values.astype(np.float32), (len(units), len(names)))
    return Matrix(
        counts.name,
        units,
        names,
        ids,
        types,
        [""] * len(names),
        canonical(counts.name, whole, entry),
        "Market Exchange",
        {
            "container": "Market Exchange",
            "gene_list_columns": max(map(len, gene_rows)),
            "matrix_is_barcodes_by_genes": is_turned,
        },
    )


def _compress(
    rows: NDArray[Any], columns: NDArray[Any], values: NDArray[np.float32], shape: tuple[int, int]
) -> csr_matrix:
    """CSR from triplets without adding up entries given twice, so that these can still be found.

    A stable sort by row; 10x files are in that order already, which makes it one pass.
    """
    indptr = np.zeros(shape[0] + 1, dtype=np.int64)
    np.cumsum(how_often(rows, shape[0]), out=indptr[1:])
    if (rows[1:] < rows[:-1]).any():
        order = np.argsort(rows, kind="stable")
        columns, values = columns[order], values[order]
    small = np.int32 if len(values) < np.iinfo(np.int32).max else np.int64
    return csr_matrix((values, columns.astype(small, copy=False), indptr.astype(small)), shape=shape, copy=False)


@dataclass(frozen=True)
class _Entries:
    """Entries as filed: indices from 0, int32, and values, int32, int64 or float64; `shape` of the matrix."""

    shape: tuple[int, int]
    rows: NDArray[np.int32]
    columns: NDArray[np.int32]
    values: NDArray[Any]


def _read_mtx(raw: RawFile, is_packed: bool) -> _Entries:
    """Read the entries in blocks, so that the peak is little above the result (12 bytes an entry)."""
    try:
        with parsing(raw.name), unpacked(raw) as stream:
            return _read_entries(raw, stream, raw.path.stat().st_size * (MOST_RATIO if is_packed else 1))
    except (ValueError, OverflowError) as error:
        text = " ".join(str(error).split())
        raise Refusal(
            f"{raw.name}: a cut or damaged matrix in Market Exchange format ({text}); download it again"
        ) from error


def _read_entries(raw: RawFile, stream: Any, most_bytes: int) -> _Entries:
    banner = stream.readline().decode("ascii", errors="replace").lower().split()[1:]
    line = stream.readline()
    while line.startswith(b"%") or (line and not line.strip()):
        line = stream.readline()
    rows, columns, entries = (int(number) for number in line.split())
    shape = (rows, columns)
    is_counts = banner[:2] == ["matrix", "coordinate"] and banner[2:] in (["integer", "general"], ["real", "general"])
    if not is_counts and entries:  # R calls a matrix without entries 'pattern symmetric'
        raise Refusal(f"{raw.name}: '{' '.join(banner)}'; counts are 'matrix coordinate integer general', write it so")
    if not 0 <= entries <= rows * columns:
        raise ValueError(f"{entries:,} entries in {rows:,} x {columns:,}")
    if entries * SHORTEST_ENTRY > max(most_bytes, FREE_BYTES):
        raise ValueError(f"{entries:,} entries, which a file of its size cannot hold")
    row, column = np.empty(entries, dtype=np.int32), np.empty(entries, dtype=np.int32)
    value = np.empty(entries, dtype=np.int32 if "integer" in banner else np.float64)
    done = 0
    for of_rows, of_columns, values in _blocks(stream):
        if done + len(values) > entries:
            raise ValueError(f"more than the {entries:,} entries it says it has")
        here = slice(done, done + len(values))
        for target, key, indices, size in ((row, "row", of_rows, rows), (column, "column", of_columns, columns)):
            if indices.min() < 1 or indices.max() > size:
                raise ValueError(f"{key} {indices.max() if indices.max() > size else indices.min()} of {size:,}")
            np.subtract(indices, 1, out=target[here], casting="unsafe")
        if values.dtype.kind not in "if":
            raise ValueError("values that are no numbers")
        if values.dtype.kind == "f" and value.dtype.kind == "i":
            value = value.astype(np.float64)  # called integer all the same: what is none is found later
        elif value.dtype == np.int32 and (values.min() < -MOST_INT32 or values.max() > MOST_INT32):
            value = value.astype(np.int64)
        value[here] = values
        done += len(values)
    if done != entries:
        raise ValueError(f"{done:,} of {entries:,} entries are there")
    return _Entries(shape, row, column, value)


def _blocks(stream: Any) -> Iterator[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]]:
    """Rows and columns, int64, and values of some entries at a time.

    Lines of three plain numbers and two blanks, as every program writes them, are read by numpy; the first other line,
    and all behind it, by pandas, three times as slow, which knows fractions, signs, tabs and what is none of it.
    """
    rest = b""
    while block := stream.read(BYTES_AT_ONCE):
        whole, end, rest = (rest + block).rpartition(b"\n")
        entries = _plain_entries(whole + end) if end else None
        if entries is None:
            yield from _odd_blocks(_Chained(whole + end + rest, stream))
            return
        yield entries
    if rest:
        yield from _odd_blocks(io.BytesIO(rest))


def _plain_entries(text: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]] | None:
    """The entries of whole lines; None where a line is anything but three plain numbers with a blank between."""
    code = np.frombuffer(text, dtype=np.uint8)
    ends = np.flatnonzero(code < ord("0"))
    if len(ends) % 3 or code.max() > ord("9") or code[0] < ord("0"):
        return None
    if (code[ends].reshape(-1, 3) != (ord(" "), ord(" "), ord("\n"))).any():
        return None
    digits = np.diff(ends, prepend=-1) - 1
    if digits.min() < 1 or digits.max() > MOST_DIGITS:
        return None
    numbers = np.fromstring(text, dtype=np.int64, sep=" ").reshape(-1, 3)
    return numbers[:, 0], numbers[:, 1], numbers[:, 2]


class _Chained(io.RawIOBase):
    """What was already read of a stream, and the rest of it."""

    def __init__(self, head: bytes, stream: Any) -> None:
        self._head, self._stream = head, stream

    def readable(self) -> bool:
        """A stream to read from."""
        return True

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes, all without one."""
        if not self._head:
            return bytes(self._stream.read(size))
        found = self._head if size < 0 else self._head[:size]
        self._head = self._head[len(found) :]
        return found + (self._stream.read() if size < 0 else b"")


def _odd_blocks(stream: Any) -> Iterator[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]]:
    try:
        for block in pd.read_csv(
            stream,
            sep=r"\s+",
            header=None,
            names=["row", "column", "value"],
            index_col=False,
            dtype={"row": np.int64, "column": np.int64},
            chunksize=ENTRIES_AT_ONCE,
        ):
            if not block.empty:
                yield tuple(block[key].to_numpy() for key in ("row", "column", "value"))
    except pd.errors.EmptyDataError:
        return


def _read_list(raw: RawFile) -> list[list[str]]:
    """Rows of a list, tab- or comma-separated, plain or packed."""
    try:
        content = read_bytes(raw).decode("utf-8").removeprefix(UTF8_BOM).splitlines()
    except UnicodeDecodeError as error:
        raise Refusal(f"{raw.name}: not a list of names in UTF-8 text ({error.reason}); download it again") from error
    content = [line for line in content if line.strip()]
    if not content:
        raise Refusal(f"{raw.name}: the list is empty; download it again")
    delimiter = "\t" if "\t" in content[0] else ","
    with parsing(raw.name):
        return [[field.strip() for field in row] for row in csv.reader(content, delimiter=delimiter)]


def _fit(
    counts: RawFile,
    shape: tuple[int, ...],
    features: RawFile,
    genes: list[list[str]],
    barcodes: RawFile,
    units: list[list[str]],
) -> tuple[list[list[str]], list[list[str]], bool]:
    """The lists without a header, and whether the matrix is barcodes x genes; refused unless all lengths fit."""
    for is_turned in (False, True):
        gene_count, unit_count = shape[::-1] if is_turned else shape
        kept_genes, kept_units = _without_header(genes, gene_count), _without_header(units, unit_count)
        if (len(kept_genes), len(kept_units)) == (gene_count, unit_count):
            return kept_units, kept_genes, is_turned
    raise Refusal(
        f"{counts.name}: a matrix of {shape[0]:,} x {shape[1]:,} for {len(genes):,} genes in {features.name} and"
        f" {len(units):,} barcodes in {barcodes.name}; the three files do not belong together, or one is cut",
        measured=f"{len(genes)} x {len(units)}",
        threshold=f"{shape[0]} x {shape[1]}",
    )


def _without_header(rows: list[list[str]], expected: int) -> list[list[str]]:
    """The rows; less the first if it is one too many and is what headers of such lists say."""
    return rows[1:] if len(rows) == expected + 1 and HEADERS.fullmatch(rows[0][-1]) else rows


def _share(rows: list[list[str]], pattern: re.Pattern[str]) -> float:
    """Share of the rows that hold something of a pattern."""
    return sum(any(pattern.search(field) for field in row) for row in rows) / max(len(rows), 1)


def _columns(rows: list[list[str]]) -> list[list[str]]:
    width = max(map(len, rows))
    return [[row[i] if i < len(row) else "" for row in rows] for i in range(width)]


def _unit_names(rows: list[list[str]]) -> list[str]:
    """The first column that holds barcodes, else the last one."""
    columns = _columns(rows)
    return next((column for column in columns if _share([[name] for name in column], BARCODE) > 0.5), columns[-1])


def _gene_columns(rows: list[list[str]]) -> tuple[list[str], list[str], list[str]]:
    """Symbols, ids and types; a column of row numbers before them is skipped."""
    columns = _columns(rows)
    if len(columns) > 1 and any(columns[0] == [str(i + first) for i in range(len(rows))] for first in (0, 1)):
        columns = columns[1:]
    # Types stand last, or are told by their words, also where there is but one column of names before them.
    types_at = next((i for i in range(len(columns) - 1, 0, -1) if _says_types(columns[i], i)), None)
    types = [GENE_EXPRESSION] * len(rows) if types_at is None else columns.pop(types_at)
    ids_at = next((i for i, column in enumerate(columns) if _share([[n] for n in column], ENSEMBL) > 0.5), None)
    if len(columns) == 1:
        ids = columns[0] if ids_at == 0 else [""] * len(columns[0])
        return columns[0], ids, types
    at = 0 if ids_at is None else ids_at
    symbols_at = 0 if at == 1 else 1
    if ids_at is None and 2 * len(set(columns[1])) < len(set(columns[0])):  # few words: of genomes or chromosomes
        return columns[0], [""] * len(rows), types
    if ids_at is not None and 2 * len(set(columns[symbols_at])) < len(set(columns[at])):
        return columns[at], columns[at], types
    return columns[symbols_at], columns[at], types


def _says_types(column: list[str], at: int) -> bool:
    """Whether a column of a gene list holds types of features or biotypes: few words, unless it is the third."""
    kinds = set(column)
    says = any(GENE_TYPES.fullmatch(kind) or BIOTYPES.fullmatch(kind) or OTHER_TYPES.search(kind) for kind in kinds)
    return says and (at >= 2 or len(kinds) <= max(len(column) / 2, 2))
