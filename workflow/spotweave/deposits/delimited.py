"""Delimited text, strictly: numbered lines, the header, and fields.

Fields are separated by tabs, commas, semicolons or blanks, in UTF-8 or UTF-16. A line `sep=;` of a spreadsheet,
comments before the header, blank rows and blank columns behind the last are passed over.

Rows are counted like a spreadsheet or an editor does: row 1 is the first line of the file, column 1 the first field.
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
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from spotweave.deposits.opening import GZIP_MAGIC, parsing, unpacked
from spotweave.deposits.raw import RawFile
from spotweave.deposits.values import NUMBER
from spotweave.errors import Refusal

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


@dataclass
class Faults:
    """The first fault of a kind and the number of all."""

    first: str = ""
    advice: str = ""
    count: int = 0

    def add(self, first: str, advice: str, count: int = 1) -> None:
        """Note a fault; `first` is shown if it is the first."""
        if not self.count:
            self.first, self.advice = first, advice
        self.count += count

    def refuse(self, name: str, what: str) -> None:
        """Refuse the file if there was any."""
        if self.count:
            more = f" (and {self.count - 1:,} more such {what})" if self.count > 1 else ""
            raise Refusal(f"{name}: {self.first}{more}; {self.advice}", measured=self.count, threshold=0)


def to_numbers(fields: Sequence[str]) -> NDArray[np.float64]:
    """Fields as float64, NaN where a field is no number."""
    return np.array([float(text) if NUMBER.fullmatch(text) else np.nan for text in fields], dtype=np.float64)


def not_a_number(text: str) -> str:
    """What a message says of a field that is no number."""
    return f"'{shorten(text)}' is not a number" if text else "the cell is empty"


def shorten(text: str, length: int = 60) -> str:
    """A text short enough to be shown."""
    return text if len(text) <= length else text[: length - 3] + "..."


def ragged_row(number: int, fields: list[str], expected: int) -> tuple[str, str]:
    """What is wrong with a row of another number of fields, and what to do."""
    first = f"row {number} ({shorten(fields[0])}) has {len(fields):,} fields where {expected:,} are expected"
    return first, "the file is cut or damaged, download it again"


def too_narrow(raw: RawFile, number: int, line: bytes) -> Refusal:
    """The refusal of a table of one column."""
    found = shorten(line.decode("utf-8", errors="replace"))
    return Refusal(
        f"{raw.name}: row {number} has fewer than 2 columns when split at tabs, commas, semicolons or blanks: "
        f"'{found}'; a table separated by tabs or commas is expected, with names in the first row and the first column",
        measured=1,
        threshold=2,
    )


def without_missing_corner(header: list[str], width: int) -> list[str]:
    """The header of rows with `width` fields; R writes none over the row names, which shifts the header by one."""
    return ["", *header] if len(header) == width - 1 else header


def without_blank_tail(header: list[str]) -> tuple[list[str], int]:
    """The header less the columns without a name behind the last, and how many they are: spreadsheets save them."""
    width = next((at for at in range(len(header), 0, -1) if header[at - 1]), len(header))
    return header[:width], len(header) - width


def cut_tail(line: bytes, delimiter: str, blank: int) -> bytes:
    """A row less as many empty fields at its end."""
    for _ in range(blank):
        rest = line.rstrip(b" ")
        line = rest[:-1] if rest.endswith(delimiter.encode()) else line
    return line


def read_header(raw: RawFile, lines: Iterator[tuple[int, bytes]]) -> tuple[list[str], str, Iterator[tuple[int, bytes]]]:
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
        raise too_narrow(raw, number, line)
    return split_line(raw, number, line, delimiter), delimiter, lines


def _most_frequent(line: bytes) -> str:
    delimiter = max(DELIMITERS, key=lambda mark: line.count(mark.encode()))
    return delimiter if delimiter.encode() in line else BLANK


def _is_header(line: bytes, below: bytes) -> bool:
    """Whether a line that starts like a comment has a field over each field of the line below."""
    mark = _most_frequent(below).encode()
    return mark != BLANK.encode() and below.count(mark) - 1 <= line.count(mark) <= below.count(mark)


def split_line(raw: RawFile, number: int, line: bytes, delimiter: str) -> list[str]:
    """The fields of a line, stripped."""
    text = decode(raw, number, line)
    if '"' not in text:
        return text.split() if delimiter == BLANK else [part.strip() for part in text.split(delimiter)]
    try:
        reader = csv.reader([text.strip(BLANK)], delimiter=delimiter, skipinitialspace=True)
        return [part.strip() for part in next(reader)]
    except csv.Error as error:
        raise Refusal(f"{raw.name}: row {number}: {error}; check its quotes, or download the file again") from error


def decode(raw: RawFile, number: int, line: bytes) -> str:
    """A line as text."""
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        column = 1 + max(line[: error.start].count(mark.encode()) for mark in DELIMITERS)
        raise Refusal(
            f"{raw.name}: row {number}, column {column}: byte 0x{line[error.start]:02x} is not UTF-8 text; save the "
            "file as UTF-8, or download it again"
        ) from error


@contextlib.contextmanager
def numbered_lines(raw: RawFile) -> Iterator[Iterator[tuple[int, bytes]]]:
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
