"""Dense tables of counts in delimited text, held sparse at once.

Every fault is a `Refusal` that names the file, the first offending row and column, and how many more there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from spotweave.deposits.delimited import (
    Faults,
    cut_tail,
    decode,
    not_a_number,
    numbered_lines,
    ragged_row,
    read_header,
    split_line,
    to_numbers,
    too_narrow,
    without_blank_tail,
    without_missing_corner,
)
from spotweave.deposits.raw import RawFile
from spotweave.deposits.values import NUMBER, UNKNOWN
from spotweave.errors import Refusal
from spotweave.matrices.features import are_summaries, is_summary
from spotweave.matrices.matrix import LARGEST_COUNT


@dataclass(frozen=True)
class CountTable:
    """A dense table of counts, held sparse.

    `counts` is CSR float32, rows x columns of the file, without the column of row names. `row_lines` are the rows'
    numbers in the file. `decimals` counts the cells written with a decimal point (`3.0`).
    """

    name: str
    row_names: list[str]
    row_lines: list[int]
    column_names: list[str]
    counts: csr_matrix
    delimiter: str
    decimals: int


def read_counts(raw: RawFile) -> CountTable:
    """Read a dense table of counts, names in the first row and the first column, in one pass over the file.

    Cells must be whole numbers from 0 to 2^24; `3.0` is one. Plain or gzip, with or without a name over the column of
    row names. Rows and columns that are summaries by their name may hold anything; what is no count there is read as 0.
    """
    with numbered_lines(raw) as whole:
        header, delimiter, lines = read_header(raw, whole)
        return _CountRows(raw, header, delimiter).read(lines)


class _CountRows:
    """Takes the rows of a count table one after the other and keeps what is not zero."""

    def __init__(self, raw: RawFile, header: list[str], delimiter: str) -> None:
        self.raw = raw
        self.header, self.blank_columns = without_blank_tail(header)
        self.delimiter = delimiter
        self.is_summary = np.zeros(0, dtype=bool)
        self.digits = b"0123456789" + delimiter.encode()
        self.digits_and_signs = self.digits + b".eE+-"
        self.names: list[str] = []
        self.lines: list[int] = []
        self.columns: list[NDArray[np.int32]] = []
        self.values: list[NDArray[np.float32]] = []
        self.decimals = 0
        self.bad_cells = Faults()
        self.ragged = Faults()

    def read(self, lines: Iterator[tuple[int, bytes]]) -> CountTable:
        for number, line in lines:
            if not self.names:
                cut = cut_tail(line, self.delimiter, self.blank_columns)
                self.header = without_missing_corner(
                    self.header, len(split_line(self.raw, number, cut, self.delimiter))
                )
                if len(self.header) < 2:
                    raise too_narrow(self.raw, number, line)
                self.is_summary = are_summaries(self.header[1:])
            self._take(number, cut_tail(line, self.delimiter, self.blank_columns))
        self.ragged.refuse(self.raw.name, "rows")
        self.bad_cells.refuse(self.raw.name, "cells")
        if not self.names:
            raise Refusal(f"{self.raw.name}: the table has a header and no rows; download the file again")
        return CountTable(
            self.raw.name, self.names, self.lines, self.header[1:], self._matrix(), self.delimiter, self.decimals
        )

    def _take(self, number: int, line: bytes) -> None:
        name, _, cells = line.partition(self.delimiter.encode())
        values = self._parse_plain(cells)
        if values is None:  # quotes, blanks, words, empty cells, or not as many as in the header
            fields = split_line(self.raw, number, line, self.delimiter)
            self.names.append(fields[0])
            self.lines.append(number)
            if len(fields) != len(self.header):
                self.ragged.add(*ragged_row(number, fields, len(self.header)))
                return
            values = to_numbers(fields[1:])
        else:
            self.names.append(decode(self.raw, number, name).strip().strip('"').strip())
            self.lines.append(number)
        good = (values >= 0) & (values <= LARGEST_COUNT) & (values == np.floor(values))
        if not good.all() and (self.is_summary.any() or is_summary(self.names[-1])):
            left_out = ~good & (self.is_summary | is_summary(self.names[-1]))
            values, good = np.where(left_out, 0, values), good | left_out
        if not good.all():
            self._note_bad_cells(number, line, np.flatnonzero(~good))
            return
        self.decimals += cells.count(b".")
        found = np.flatnonzero(values)
        self.columns.append(found.astype(np.int32))
        self.values.append(values[found].astype(np.float32))

    def _parse_plain(self, cells: bytes) -> NDArray[Any] | None:
        """The numbers of a row that holds nothing but plain numbers, one in every cell; None if it may hold more.

        `np.fromstring` refuses a cell that is more than a number, but skips empty ones. With as many cells and as many
        numbers as expected, every cell is exactly one number.
        """
        expected = len(self.header) - 1
        if cells.count(self.delimiter.encode()) + 1 != expected:
            return None
        if not cells.translate(None, self.digits):
            dtype: type[np.number] = np.int64
        elif not cells.translate(None, self.digits_and_signs):
            dtype = np.float64
        else:
            return None
        try:
            values = np.fromstring(cells, dtype, sep=self.delimiter)
        except ValueError:
            return None
        return values if values.size == expected else None

    def _note_bad_cells(self, number: int, line: bytes, bad: NDArray[np.intp]) -> None:
        first, advice = "", ""
        if not self.bad_cells.count:
            fields = split_line(self.raw, number, line, self.delimiter)
            column = int(bad[0]) + 1
            fault, advice = _judge_count(fields[column])
            first = f"row {number} ({fields[0]}), column {column + 1} ({self.header[column]}): {fault}"
        self.bad_cells.add(first, advice, len(bad))

    def _matrix(self) -> csr_matrix:
        ends = np.cumsum([0, *(part.size for part in self.columns)])
        shape = (len(self.names), len(self.header) - 1)
        return csr_matrix((np.concatenate(self.values), np.concatenate(self.columns), ends), shape=shape)


def _judge_count(text: str) -> tuple[str, str]:
    """What is wrong with a cell that is no count, and what to do."""
    value = float(text) if NUMBER.fullmatch(text) else float("nan")
    if np.isnan(value) and text.lower() not in UNKNOWN:
        return (
            f"{not_a_number(text)}, a count is expected",
            "names stand in the first row and the first column only: remove what else is no count",
        )
    if np.isnan(value):
        return (
            f"{not_a_number(text)}, a count is expected",
            "fetch the complete table, with 0 where nothing was counted",
        )
    if value < 0:
        return f"{text} is negative", "raw counts are needed, not log-transformed or centred values"
    if value > LARGEST_COUNT:
        return (
            f"{text} is beyond 2^24 = {LARGEST_COUNT:,}, which float32 cannot hold exactly",
            "check that the table holds counts",
        )
    return f"{text} is not a whole number", "raw counts are needed, not normalised values"
