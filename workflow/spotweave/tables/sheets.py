"""Tables as people save them: CSV by this project's rules, and what spreadsheets make of it.

Read without a word: UTF-8 with or without a mark, UTF-16 with one, commas, semicolons, tabs, a `sep=` line, blank
columns at the end. What could be read in two ways (another code page, a workbook) is one message that says what to do.
Only the standard library is used: tables are read at the start of every job.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
import unicodedata
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from spotweave.addresses import without_secrets

SAVE_AS = "save it as 'CSV UTF-8'"
LARGEST_BYTES = 64 << 20
MOST_CHARACTERS = 10_000
SHOWN_CHARACTERS = 80
DELIMITERS = ",;\t|"
# What other programs write, by its first bytes.
OTHERS = (
    (b"PK\x03\x04", "a workbook or zip archive"),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook"),
    (b"\x1f\x8b", "a gzip file"),
    (b"%PDF", "a PDF"),
    (b"{\\rtf", "rich text"),
    (b"<", "a web page or XML"),
)
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class NoTable(ValueError):
    """The file is no such table: `row` is where that shows, None for the whole; the text says what to do."""

    def __init__(self, what: str, row: int | None = None) -> None:
        super().__init__(what)
        self.row = row


@dataclass(frozen=True)
class Record:
    """One line of a table: its number in the file (the header's is 1) and its cells, as many as it has."""

    number: int
    cells: list[str]


@dataclass(frozen=True)
class Sheet:
    """A table as it stands: names of the columns, blank where there is none, and the records that are not blank."""

    header: list[str]
    records: list[Record]
    delimiter: str


def read(path: Path, known: Collection[str]) -> Sheet:
    """Read a table.

    Parameters
    ----------
    path
        A text file.
    known
        Names that columns may have: they tell which character parts the cells.

    Raises
    ------
    NoTable
        In one line, what it is instead and what to do.
    """
    text = _decoded(_content(path))
    first, _, rest = text.partition("\n")
    skipped = 0
    asked = re.fullmatch(r'"?sep=(.)"?,*', first.strip(), re.IGNORECASE)
    if asked:
        text, skipped = rest, 1
    header, delimiter = _header(text, known)
    records = [Record(number + skipped, cells) for number, cells in _records(text, delimiter)]
    return Sheet([name.strip() for name in header], records[1:], delimiter)


def cells_of(path: Path, key: str, value: str) -> dict[str, str]:
    """The non-blank cells of the first record whose column `key` holds `value`; none where there is no such record."""
    sheet = read(path, (key,))
    for record in sheet.records:
        row = {name: cleaned(cell) for name, cell in zip(sheet.header, record.cells, strict=False) if name}
        if row.get(key) == value:
            return {name: cell for name, cell in row.items() if cell}
    return {}


def shown(text: str) -> str:
    """A cell for a message: quoted, without tokens, and not longer than a line."""
    text = without_secrets(text[: 2 * SHOWN_CHARACTERS])
    return repr(text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…")


def cleaned(cell: str) -> str:
    """A cell without blanks around it; a line break within it is a blank."""
    return re.sub(r"[^\S\n\r]*[\r\n]\s*", " ", cell.strip()) if "\n" in cell or "\r" in cell else cell.strip()


def wrong(cell: str, most: int = MOST_CHARACTERS) -> str | None:
    """What no cell may hold: more characters than `most`, or one that cannot be seen. None for a good cell."""
    if len(cell) > most:
        return f"{shown(cell)} has {len(cell):,} characters, allowed: at most {most:,}; is a quote left open?"
    if cell.isascii() and cell.isprintable():
        return None
    bad = next((letter for letter in cell if unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Zl", "Zp")), None)
    if bad is None:
        return None
    name = unicodedata.name(bad, "a control character")
    return f"{shown(cell)} holds U+{ord(bad):04X} ({name}), which cannot be seen, allowed: visible text; type it anew"


def _content(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > LARGEST_BYTES:
            raise NoTable(f"{size:,} bytes, allowed: a table of at most {LARGEST_BYTES:,}")
        content = path.read_bytes()
    except OSError as error:
        raise NoTable(f"cannot be read ({error.strerror}), allowed: a CSV table") from None
    for start, what in OTHERS:
        if content.lstrip().startswith(start):
            raise NoTable(f"{what}, not a CSV table: open it in its program and {SAVE_AS}")
    if not content.strip():
        raise NoTable("empty, allowed: a CSV table with a header")
    return content


def _decoded(content: bytes) -> str:
    encoding = next((name for mark, name in MARKS if content.startswith(mark)), "utf-8")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        row = content[: error.start].count(b"\n") + 1 if encoding.startswith("utf-8") else None
        letter = content[error.start : error.start + 1].hex()
        raise NoTable(f"not in UTF-8 (byte 0x{letter}), as spreadsheets save CSV by default: {SAVE_AS}", row) from None


def _header(text: str, known: Collection[str]) -> tuple[list[str], str]:
    """The names of the columns, and the character that parts the most known ones."""
    found: list[tuple[int, list[str], str]] = []
    for delimiter in DELIMITERS:
        try:
            cells = next((cells for _, cells in _records(text, delimiter)), [])
        except NoTable:
            if delimiter == DELIMITERS[-1] and not found:
                raise
            continue
        found.append((sum(cell.strip() in known for cell in cells), cells, delimiter))
    _, header, delimiter = max(found, key=lambda one: one[0])
    return header, delimiter


def _records(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The records that are not blank, with the number of the line each starts in."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    start = 1
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            what = str(error)
            if "end of data" in what:
                what = "a quote that is not closed"
            elif "field limit" in what:
                what = f"a cell of over {csv.field_size_limit():,} characters, as after a quote that is not closed"
            raise NoTable(f"not a readable CSV table ({what}), allowed: cells with quotes in pairs", start) from None
        if cells is None:
            return
        if any(cell.strip() for cell in cells):
            yield start, cells
        start = reader.line_num + 1
