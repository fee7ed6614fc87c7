"""Delimited text tables, strictly: dense count tables (sparse at once) and small tables of records.

Fields are separated by tabs, commas, semicolons or blanks, in UTF-8 or UTF-16. A line `sep=;` of a spreadsheet,
comments before the header, blank rows and blank columns behind the last are passed over.

Rows are counted like a spreadsheet or an editor does: row 1 is the first line of the file, column 1 the first field.
Every fault is a `Refusal` that names the file, the first offending row and column, and how many more there are.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from spotweave.deposits.opening import GZIP_MAGIC, parsing, unpacked
from spotweave.deposits.raw import RawFile
from spotweave.deposits.values import NUMBER, UNKNOWN
from spotweave.errors import Refusal
from spotweave.matrices.features import are_summaries, is_summary
from spotweave.matrices.matrix import LARGEST_COUNT

DELIMITERS = {"\t": "tab", ",": "comma", ";": "semicolon"}
BLANK = " "  # where there is none of them
SEPARATOR_LINE = re.compile(r"\ufeff?\s*\"?sep=(?P<mark>\t|[,; |])\"?[\s,;]*", re.IGNORECASE)
COMMENT = "#"
UTF8_BOM = b"\xef\xbb\xbf"
UTF16_BOMS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
HEAD_BYTES = 512
FOREIGN = {
    b"PK\x03\x04": "a zip archive or an Excel workbook; unpack it, or save it as tab-separated text",
    b"\x89HDF": "an HDF5 file; choose the reader for that format",
    b"PAR1": "a parquet table; save it as tab-separated text, or give the count matrix as 10x HDF5 or h5ad",
    b"BZh9": "packed with bzip2; unpack it, or pack it with gzip",
    b"\xfd7zXZ": "packed with xz; unpack it, or pack it with gzip",
    GZIP_MAGIC: "packed with gzip twice; unpack it once",
    b"version https://git-lfs": "a Git LFS pointer, not the file it stands for; download the file itself",
    b"<": "a web page or XML, not a table; the address leads to an error or login page, check it and download again",
}


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


@dataclass(frozen=True)
class Records:
    """A small table: `header`, and `rows` of as many fields, all stripped; `lines` are the rows' numbers in the file.

    Where the header has one field less than the rows (as R writes it), its first field is the empty string.
    """

    name: str
    header: list[str]
    rows: list[list[str]]
    lines: list[int]

    def column(self, index: int) -> list[str]:
        """The fields of one column."""
        return [row[index] for row in self.rows]

    def label(self, index: int) -> str:
        """How a message names a column."""
        return f"column {index + 1} ({self.header[index]})" if self.header[index] else f"column {index + 1}"


@dataclass
class _Faults:
    """The first fault of a kind and the number of all."""

    first: str = ""
    advice: str = ""
    count: int = 0

    def add(self, first: str, advice: str, count: int = 1) -> None:
        if not self.count:
            self.first, self.advice = first, advice
        self.count += count

    def refuse(self, name: str, what: str) -> None:
        if self.count:
            more = f" (and {self.count - 1:,} more such {what})" if self.count > 1 else ""
            raise Refusal(f"{name}: {self.first}{more}; {self.advice}", measured=self.count, threshold=0)


def read_counts(raw: RawFile) -> CountTable:
    """Read a dense table of counts, names in the first row and the first column, in one pass over the file.

    Cells must be whole numbers from 0 to 2^24; `3.0` is one. Plain or gzip, with or without a name over the column of
    row names. Rows and columns that are summaries by their name may hold anything; what is no count there is read as 0.
    """
    with _numbered_lines(raw) as whole:
        header, delimiter, lines = _read_header(raw, whole)
        return _CountRows(raw, header, delimiter).read(lines)


def read_records(raw: RawFile) -> Records:
    """Read a small table with a header."""
    rows: list[list[str]] = []
    numbers: list[int] = []
    ragged = _Faults()
    with _numbered_lines(raw) as whole:
        header, delimiter, lines = _read_header(raw, whole)
        header, blank = _without_blank_tail(header)
        for number, line in lines:
            fields = _split(raw, number, _cut_tail(line, delimiter, blank), delimiter)
            if not rows:
                header = _without_missing_corner(header, len(fields))
            if len(fields) != len(header):
                ragged.add(*_ragged(number, fields, len(header)))
            rows.append(fields)
            numbers.append(number)
    ragged.refuse(raw.name, "rows")
    if not rows:
        raise Refusal(f"{raw.name}: the table has a header and no rows; download the file again")
    return Records(raw.name, header, rows, numbers)


def parse_numbers(records: Records, index: int) -> NDArray[np.float64]:
    """One column of `records` as float64 (rows,); a field that is no finite number is refused."""
    values = _to_numbers(records.column(index))
    faults = _Faults()
    for row in np.flatnonzero(~np.isfinite(values)):
        found = _quote(records.rows[row][index])
        faults.add(
            f"row {records.lines[row]}, {records.label(index)}: {found}, a number is expected",
            "correct the table or remove the row",
        )
    faults.refuse(records.name, "rows")
    return values


class _CountRows:
    """Takes the rows of a count table one after the other and keeps what is not zero."""

    def __init__(self, raw: RawFile, header: list[str], delimiter: str) -> None:
        self.raw = raw
        self.header, self.blank_columns = _without_blank_tail(header)
        self.delimiter = delimiter
        self.is_summary = np.zeros(0, dtype=bool)
        self.digits = b"0123456789" + delimiter.encode()
        self.digits_and_signs = self.digits + b".eE+-"
        self.names: list[str] = []
        self.lines: list[int] = []
        self.columns: list[NDArray[np.int32]] = []
        self.values: list[NDArray[np.float32]] = []
        self.decimals = 0
        self.bad_cells = _Faults()
        self.ragged = _Faults()

    def read(self, lines: Iterator[tuple[int, bytes]]) -> CountTable:
        for number, line in lines:
            if not self.names:
                cut = _cut_tail(line, self.delimiter, self.blank_columns)
                self.header = _without_missing_corner(self.header, len(_split(self.raw, number, cut, self.delimiter)))
                if len(self.header) < 2:
                    raise _too_narrow(self.raw, number, line)
                self.is_summary = are_summaries(self.header[1:])
            self._take(number, _cut_tail(line, self.delimiter, self.blank_columns))
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
            fields = _split(self.raw, number, line, self.delimiter)
            self.names.append(fields[0])
            self.lines.append(number)
            if len(fields) != len(self.header):
                self.ragged.add(*_ragged(number, fields, len(self.header)))
                return
            values = _to_numbers(fields[1:])
        else:
            self.names.append(_decode(self.raw, number, name).strip().strip('"').strip())
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
            fields = _split(self.raw, number, line, self.delimiter)
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
            f"{_quote(text)}, a count is expected",
            "names stand in the first row and the first column only: remove what else is no count",
        )
    if np.isnan(value):
        return f"{_quote(text)}, a count is expected", "fetch the complete table, with 0 where nothing was counted"
    if value < 0:
        return f"{text} is negative", "raw counts are needed, not log-transformed or centred values"
    if value > LARGEST_COUNT:
        return (
            f"{text} is beyond 2^24 = {LARGEST_COUNT:,}, which float32 cannot hold exactly",
            "check that the table holds counts",
        )
    return f"{text} is not a whole number", "raw counts are needed, not normalised values"


def _to_numbers(fields: Sequence[str]) -> NDArray[np.float64]:
    """Fields as float64, NaN where a field is no number."""
    return np.array([float(text) if NUMBER.fullmatch(text) else np.nan for text in fields], dtype=np.float64)


def _quote(text: str) -> str:
    return f"'{_shorten(text)}' is not a number" if text else "the cell is empty"


def _shorten(text: str, length: int = 60) -> str:
    return text if len(text) <= length else text[: length - 3] + "..."


def _ragged(number: int, fields: list[str], expected: int) -> tuple[str, str]:
    first = f"row {number} ({_shorten(fields[0])}) has {len(fields):,} fields where {expected:,} are expected"
    return first, "the file is cut or damaged, download it again"


def _too_narrow(raw: RawFile, number: int, line: bytes) -> Refusal:
    found = _shorten(line.decode("utf-8", errors="replace"))
    return Refusal(
        f"{raw.name}: row {number} has fewer than 2 columns when split at tabs, commas, semicolons or blanks: "
        f"'{found}'; a table separated by tabs or commas is expected, with names in the first row and the first column",
        measured=1,
        threshold=2,
    )


def _without_missing_corner(header: list[str], width: int) -> list[str]:
    """The header of rows with `width` fields; R writes none over the row names, which shifts the header by one."""
    return ["", *header] if len(header) == width - 1 else header


def _without_blank_tail(header: list[str]) -> tuple[list[str], int]:
    """The header less the columns without a name behind the last, and how many they are: spreadsheets save them."""
    width = next((at for at in range(len(header), 0, -1) if header[at - 1]), len(header))
    return header[:width], len(header) - width


def _cut_tail(line: bytes, delimiter: str, blank: int) -> bytes:
    """A row less as many empty fields at its end."""
    for _ in range(blank):
        rest = line.rstrip(b" ")
        line = rest[:-1] if rest.endswith(delimiter.encode()) else line
    return line


def _read_header(
    raw: RawFile, lines: Iterator[tuple[int, bytes]]
) -> tuple[list[str], str, Iterator[tuple[int, bytes]]]:
    """The header's fields, the delimiter (the most frequent one in the header), and the lines below."""
    number, line = next(lines, (1, None))
    stated = SEPARATOR_LINE.fullmatch(line.decode("utf-8", errors="replace")) if line is not None else None
    if stated:
        number, line = next(lines, (2, None))
    while line is not None and line.startswith(COMMENT.encode()):
        below = next(lines, None)
        if below is not None and _is_header(line, below[1]):
            line, lines = line.lstrip(b"# "), itertools.chain([below], lines)
            break
        number, line = below or (number, None)
    if line is None:
        raise Refusal(f"{raw.name}: the file is empty; download it again")
    delimiter = stated["mark"] if stated else _most_frequent(line)
    if delimiter.encode() not in line.strip(b" "):
        raise _too_narrow(raw, number, line)
    return _split(raw, number, line, delimiter), delimiter, lines


def _most_frequent(line: bytes) -> str:
    delimiter = max(DELIMITERS, key=lambda mark: line.count(mark.encode()))
    return delimiter if delimiter.encode() in line else BLANK


def _is_header(line: bytes, below: bytes) -> bool:
    """Whether a line that starts like a comment has a field over each field of the line below."""
    mark = _most_frequent(below).encode()
    return mark != BLANK.encode() and below.count(mark) - 1 <= line.count(mark) <= below.count(mark)


def _split(raw: RawFile, number: int, line: bytes, delimiter: str) -> list[str]:
    text = _decode(raw, number, line)
    if '"' not in text:
        return text.split() if delimiter == BLANK else [part.strip() for part in text.split(delimiter)]
    try:
        reader = csv.reader([text.strip(BLANK)], delimiter=delimiter, skipinitialspace=True)
        return [part.strip() for part in next(reader)]
    except csv.Error as error:
        raise Refusal(f"{raw.name}: row {number}: {error}; check its quotes, or download the file again") from error


def _decode(raw: RawFile, number: int, line: bytes) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        column = 1 + max(line[: error.start].count(mark.encode()) for mark in DELIMITERS)
        raise Refusal(
            f"{raw.name}: row {number}, column {column}: byte 0x{line[error.start]:02x} is not UTF-8 text; save the "
            "file as UTF-8, or download it again"
        ) from error


@contextlib.contextmanager
def _numbered_lines(raw: RawFile) -> Iterator[Iterator[tuple[int, bytes]]]:
    """The file's lines with their numbers from 1, unpacked, without line ends, byte order mark and blank lines."""
    with parsing(raw.name), unpacked(raw) as content:
        stream = io.BufferedReader(cast(io.RawIOBase, content))
        try:
            is_utf16 = stream.peek(2).startswith(UTF16_BOMS)
            yield _lines(raw, cast(BinaryIO, codecs.EncodedFile(stream, "utf-8", "utf-16") if is_utf16 else stream))
        except UnicodeDecodeError as error:
            raise Refusal(
                f"{raw.name}: UTF-16 text that is cut or damaged ({error.reason}); save it as UTF-8"
            ) from error


def _lines(raw: RawFile, stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    number = 0
    known_to_be_text = False
    for chunk in stream:
        for line in chunk.splitlines():  # \n, \r\n, and the lone \r of old spreadsheets
            number += 1
            content = line.removeprefix(UTF8_BOM) if number == 1 else line
            if not content.strip(b' \t,;"'):
                continue
            if not known_to_be_text:
                _refuse_foreign(raw, content[:HEAD_BYTES])
                known_to_be_text = True
            yield number, content


def _refuse_foreign(raw: RawFile, head: bytes) -> None:
    start = head.lstrip()
    for magic, what in FOREIGN.items():
        if start.startswith(magic):
            raise Refusal(f"{raw.name}: the file is {what}")
    if b"\x00" in head and not head.replace(b"\x00", b"").translate(None, bytes(range(9, 127))):
        raise Refusal(f"{raw.name}: UTF-16 text without its mark; save it as UTF-8")
    if b"\x00" in head:
        raise Refusal(f"{raw.name}: the file is binary; a table of text, plain or packed with gzip, is expected")
