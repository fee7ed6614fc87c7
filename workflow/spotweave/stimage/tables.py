"""Small tables of the layout, read without belief in them, and written."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from spotweave.deposits.delimited import shorten
from spotweave.deposits.opening import read_bytes
from spotweave.deposits.raw import RawFile
from spotweave.deposits.values import plain_number
from spotweave.errors import Refusal


def file_in(root: Path, said: str) -> RawFile:
    """A file of the folder, by a path that is made of checked names.

    Raises
    ------
    Refusal
        It is not there, or is a link or lies behind one.
    """
    path = root
    for part in said.split("/"):
        path = path / part
        if path.is_symlink():
            raise Refusal(f"{said}: a link, or behind one; download it as a file")
    if not path.is_file():
        raise Refusal(f"{said}: there is no such file in {root.name}; download it again")
    return RawFile(said, path)


@dataclass(frozen=True)
class Table:
    """A table whose first column names its rows, each once.

    Attributes
    ----------
    name
        The file's, for messages.
    index
        Names of the rows.
    columns
        Those that were asked for, by name, as text.
    """

    name: str
    index: list[str]
    columns: dict[str, list[str]]

    def numbers(self, column: str) -> list[float]:
        """A column as finite numbers."""
        found = []
        for row, text in enumerate(self.columns[column], start=2):
            value = plain_number(text)
            if value is None or not math.isfinite(value):
                raise Refusal(f"{self.name}: row {row}: {column} is {shorten(text)!r}, which is not a number")
            found.append(value)
        return found


def read_table(raw: RawFile, columns: Sequence[str]) -> Table:
    """Read a csv (of tabs, where its header has more of them) with these columns beside the first.

    Raises
    ------
    Refusal
        It is none, lacks a column, has no rows, or names one twice or not at all.
    """
    try:
        text = read_bytes(raw).decode("utf-8-sig")
        first = text.partition("\n")[0]
        delimiter = "\t" if first.count("\t") > first.count(",") else ","
        header, *rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except (UnicodeDecodeError, csv.Error, ValueError) as error:
        raise Refusal(f"{raw.name}: not a csv ({error}); download it again") from error
    lacking = [column for column in columns if column not in header[1:]]
    if lacking:
        raise Refusal(f"{raw.name}: no column {lacking[0]}; there are {shorten(', '.join(header[1:]))}")
    rows = [row for row in rows if row]
    if not rows:
        raise Refusal(f"{raw.name}: a header and no rows; download it again")
    seen: set[str] = set()
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise Refusal(f"{raw.name}: row {number} has {len(row)} fields where {len(header)} are expected")
        if not row[0] or row[0] in seen:
            raise Refusal(f"{raw.name}: row {number}: {shorten(row[0])!r} is {'there twice' if row[0] else 'no name'}")
        seen.add(row[0])
    place = {column: header.index(column, 1) for column in columns}
    return Table(raw.name, [row[0] for row in rows], {name: [row[at] for row in rows] for name, at in place.items()})


def write_csv(
    path: Path, header: Sequence[str], rows: Iterable[Sequence[object]], *, delimiter: str = ",", quoted: bool = False
) -> None:
    """Write rows (UTF-8, `\\n`); floats by their shortest digits that read back the same."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="") as handle:
        table = csv.writer(
            handle,
            delimiter=delimiter,
            lineterminator="\n",
            quoting=csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL,
        )
        table.writerow(header)
        table.writerows(rows)
