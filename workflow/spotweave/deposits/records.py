"""Small tables of records in delimited text, strictly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spotweave.deposits.delimited import (
    Faults,
    cut_tail,
    not_a_number,
    numbered_lines,
    ragged_row,
    read_header,
    split_line,
    to_numbers,
    without_blank_tail,
    without_missing_corner,
)
from spotweave.deposits.raw import RawFile
from spotweave.errors import Refusal


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


def read_records(raw: RawFile) -> Records:
    """Read a small table with a header."""
    rows: list[list[str]] = []
    numbers: list[int] = []
    ragged = Faults()
    with numbered_lines(raw) as whole:
        header, delimiter, lines = read_header(raw, whole)
        header, blank = without_blank_tail(header)
        for number, line in lines:
            fields = split_line(raw, number, cut_tail(line, delimiter, blank), delimiter)
            if not rows:
                header = without_missing_corner(header, len(fields))
            if len(fields) != len(header):
                ragged.add(*ragged_row(number, fields, len(header)))
            rows.append(fields)
            numbers.append(number)
    ragged.refuse(raw.name, "rows")
    if not rows:
        raise Refusal(f"{raw.name}: the table has a header and no rows; download the file again")
    return Records(raw.name, header, rows, numbers)


def parse_numbers(records: Records, index: int) -> NDArray[np.float64]:
    """One column of `records` as float64 (rows,); a field that is no finite number is refused."""
    values = to_numbers(records.column(index))
    faults = Faults()
    for row in np.flatnonzero(~np.isfinite(values)):
        found = not_a_number(records.rows[row][index])
        faults.add(
            f"row {records.lines[row]}, {records.label(index)}: {found}, a number is expected",
            "correct the table or remove the row",
        )
    faults.refuse(records.name, "rows")
    return values
