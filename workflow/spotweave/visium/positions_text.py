"""Positions in text, as Space Ranger writes them and as they look after R, a spreadsheet or a hand.

The pixel columns come row (y) first. Columns with a header may stand in any order; R adds a column of row names and
quotes. Tables that went through a spreadsheet or a hand have a line `sep=;`, comments, titles, blank rows, UTF-16,
semicolons, blanks or decimals with commas.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from spotweave.deposits.delimited import SEPARATOR_LINE, UTF16_BOMS
from spotweave.deposits.raw import RawFile
from spotweave.errors import Refusal
from spotweave.matrices.barcodes import looks_like_barcode
from spotweave.matrices.features import is_summary
from spotweave.visium.positions_columns import COLUMNS, EXPECTED, KNOWN_NAMES, NAMES, NEEDED, Filed, header_name, normal

DELIMITERS = (",", "\t", ";")
FEWEST_FIELDS = len(COLUMNS) - 1  # R writes no name over its row names
MOST_PREAMBLE = 50  # lines of comments and titles above a table
COMMENTS = ("#", "%", "//")
CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f]")
HEAD_BYTES = 512


def _decoded(raw: RawFile, content: bytes) -> str:
    """Text in UTF-8, in UTF-16 (what spreadsheets call Unicode text), or in the code page of Windows."""
    if b"\x00" in content[:HEAD_BYTES] and not content.startswith(UTF16_BOMS):
        at = content.index(b"\x00") % 2
        encodings: tuple[str, ...] = ("utf-16-le" if at else "utf-16-be",)
    else:
        encodings = ("utf-16",) if content.startswith(UTF16_BOMS) else ("utf-8-sig", "cp1252")
    error: UnicodeDecodeError | None = None
    for encoding in encodings:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError as found:
            error = error or found
            continue
        if not CONTROL.search(text[:HEAD_BYTES]):
            return text
    why = f" ({error.reason} at byte {error.start:,})" if error else ""
    raise Refusal(f"{raw.name}: not a table of positions in text{why}; download it again and check the address")


@dataclass(frozen=True)
class _Layout:
    """Where the table of a text begins: its first line (the header, if it has one), and what separates its fields."""

    at: int
    header: list[str]
    delimiter: str


def _fields(line: str, delimiter: str) -> list[str]:
    return [
        part.strip() for part in next(csv.reader([line.strip(" ")], delimiter=delimiter, skipinitialspace=True), [])
    ]


def _is_blank(line: str) -> bool:
    return not line.strip(" \t,;\"'")


def _find_layout(lines: Sequence[str]) -> _Layout | None:
    """The first line of the table, below `sep=`, comments and titles; None if there is no table."""
    stated = ""
    for at, line in enumerate(lines[:MOST_PREAMBLE]):
        separator = SEPARATOR_LINE.fullmatch(line)
        if separator:
            stated = separator["mark"]
        if separator or _is_blank(line):
            continue
        is_comment = line.lstrip(' "').startswith(COMMENTS)
        bare = line.lstrip(' "#%/') if is_comment else line
        delimiter = stated or max(DELIMITERS, key=bare.count)
        header = _fields(bare, delimiter if delimiter in bare else " ")
        known = {normal(name) for name in header} & KNOWN_NAMES
        is_table = len(header) >= FEWEST_FIELDS or len(known) > 1
        if not is_table or (is_comment and len(known) < len(NEEDED)):
            continue
        return _Layout(at, header, delimiter if delimiter in bare else " ")
    return None


def read_text(raw: RawFile, content: bytes) -> Filed:
    """Find the table and its columns; rows that are sums of a spreadsheet are left out."""
    text = _decoded(raw, content)
    lines = text.splitlines()
    first = next((line for line in lines if line.strip()), "")
    if not first or first.lstrip().startswith("<"):
        raise Refusal(
            f"{raw.name}: {'not a table of positions' if first else 'the file is empty'}; download it again and"
            " check the address"
        )
    layout = _find_layout(lines)
    if layout is None:
        raise Refusal(f"{raw.name}: unknown layout, expected are {EXPECTED}; the first row is {first[:200]}")
    header, delimiter = layout.header, layout.delimiter
    has_header = not any(looks_like_barcode(name) for name in header)
    start = layout.at + has_header
    numbers = [at for at in range(start, len(lines)) if not (_is_blank(lines[at]) or lines[at].startswith(COMMENTS))]
    if not numbers:
        raise Refusal(f"{raw.name}: the table has a header and no rows; download the file again")
    try:
        frame = pd.read_csv(
            io.StringIO("\n".join(lines[at] for at in numbers)),
            sep=delimiter if delimiter != " " else r"\s+",
            header=None,
            dtype=str,
            keep_default_na=False,
            skipinitialspace=True,
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise Refusal(f"{raw.name}: cut or damaged ({' '.join(str(error).split())}); download it again") from error
    # Row 1 is the first line of the file; only a quoted line break makes a row of two lines.
    frame.index = pd.Index(numbers[: len(frame)]) + 1
    if has_header:
        header, frame = _without_blank_ends(header, frame)
    width = frame.shape[1]
    if has_header and len(header) != width:
        raise Refusal(f"{raw.name}: {width} columns under a header of {len(header)}; download the file again")
    places, unused = _columns_by_name(raw, header, frame) if has_header else ({}, [])
    if not places:
        places, unused = _columns_by_order(raw, header if has_header else [], frame)
    last = frame.iloc[:, -1]
    fields = {row: len(_fields(lines[row - 1], delimiter)) for row in frame.index[last.isna() | (last == "")]}
    counted = pd.Series(fields, dtype="int64")
    table = pd.DataFrame({key: frame[at].str.strip() for key, at in places.items()})
    is_sum = np.array([is_summary(name) for name in table["barcode"]], dtype=bool)
    others = {name: frame[header.index(name)][~is_sum].tolist() for name in unused}
    return Filed(
        "text with header" if has_header else "text",
        table["barcode"][~is_sum],
        table.loc[~is_sum, list(NEEDED)],
        others,
        list(others),
        {
            "position_rows_blank": len(lines) - start - len(numbers),
            "summary_positions_left_out": int(is_sum.sum()),
        },
        width,
        counted[counted < width],
    )


def _without_blank_ends(header: list[str], frame: pd.DataFrame) -> tuple[list[str], pd.DataFrame]:
    """Header and rows less blank columns behind the last; a corner that R left out is put in."""
    if len(header) == frame.shape[1] - 1 and (frame.iloc[:, -1].str.strip() == "").all():
        frame = frame.iloc[:, :-1]  # separators at the ends of the rows, and none at that of the header
    if header[-1] and len(header) == frame.shape[1] - 1:  # R writes no name over its row names
        header = ["", *header]
    while header and not header[-1] and len(header) <= frame.shape[1]:
        if len(header) == frame.shape[1] and (frame.iloc[:, -1].str.strip() == "").all():
            frame = frame.iloc[:, :-1]
        header = header[:-1]
    return header, frame


def _columns_by_name(raw: RawFile, header: Sequence[str], frame: pd.DataFrame) -> tuple[dict[str, int], list[str]]:
    """Where the columns of `COLUMNS` are; nothing if the header has none of their names (R's V1, V2 …)."""
    lower = [normal(name) for name in header]
    found = {key: [lower.index(name) for name in names if name in lower] for key, names in NAMES.items()}
    twice = [
        name for name in lower if name and lower.count(name) > 1 and any(name in known for known in NAMES.values())
    ]
    if twice:
        raise Refusal(f"{raw.name}: two columns are called {twice[0]!r}; remove one")
    places = {key: at[0] for key, at in found.items() if at}
    if not set(places) & set(NEEDED):
        return {}, []
    if "barcode" not in places:
        at = _barcode_column(frame)
        if at is not None and at not in places.values():
            places["barcode"] = at
    missing = [key for key in COLUMNS if key not in places]
    if missing:
        raise Refusal(
            f"{raw.name}: no column for {', '.join(header_name(key) for key in missing)}; the file has"
            f" {', '.join(name or '(no name)' for name in header)[:200]}; expected are {EXPECTED}"
        )
    return places, [name for i, name in enumerate(header) if i not in places.values() and name]


def _columns_by_order(raw: RawFile, header: Sequence[str], frame: pd.DataFrame) -> tuple[dict[str, int], list[str]]:
    """The barcodes' column, by what it holds, and the five after it."""
    at = _barcode_column(frame)
    width = frame.shape[1]
    if at is None or width - at != len(COLUMNS):
        shown = " | ".join(map(str, header if header else frame.iloc[0]))[:200]
        raise Refusal(f"{raw.name}: unknown layout, expected are {EXPECTED}; the first row is {shown}")
    return {key: at + i for i, key in enumerate(COLUMNS)}, []


def _barcode_column(frame: pd.DataFrame) -> int | None:
    for at in range(frame.shape[1]):
        names = frame[at]
        sample = names.iloc[:: max(1, len(names) // 100)]
        if sum(map(looks_like_barcode, sample)) > 0.5 * len(sample):
            return at
    return None
