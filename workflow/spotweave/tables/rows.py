"""Rows of any table: read from its file and held against its schema.

A row is a dict of its non-blank cells (all strings). Faults are lines `file:row:column: what, what is allowed`; the
header is row 1.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from spotweave.registry import closest, nearest
from spotweave.tables import sheets, vocabulary
from spotweave.tables.schemas import compiled, parsed, passes
from spotweave.tables.vocabulary import OPEN

Row = dict[str, str]


class Checker:
    """Checks rows against one schema and words what it finds."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self.columns: Mapping[str, Any] = schema["properties"]
        self.required = tuple(schema["required"])
        self.check = compiled(schema)

    def faults(self, where: str, row: Row) -> Iterable[str]:
        if passes(self.check, row) and OPEN not in row.values():
            return
        for column in self.required:
            if column not in row:
                yield f"{where}:{column}: empty, {self.allowed(column)}"
        for column in sorted(name for name, cell in row.items() if cell == OPEN):
            yield f"{where}:{column}: still {OPEN!r}, as a draft leaves it, {self.allowed(column)}"
        for column in sorted(name for name in set(row) & set(self.columns) if row[name] != OPEN):
            if not passes(compiled(self.columns[column]), row[column]):
                yield f"{where}:{column}: {sheets.shown(row[column])}, {self.allowed(column, row[column])}"

    def allowed(self, column: str, cell: str = "") -> str:
        """`allowed: …`, with the word that a wrong cell may have meant."""
        rule = self.columns[column]
        if "enum" in rule:
            words = vocabulary.nearest_of(column, cell) if cell else None
            near = words if words in rule["enum"] else closest(cell, rule["enum"])
            return "allowed: " + ", ".join(rule["enum"]) + (f"; did you mean {near!r}?" if near else "")
        return "allowed: " + rule.get("allowed", rule["description"])


@cache
def _checker(schema: str, more_columns: str) -> Checker:
    """The checker of a schema as its file has it: hundreds of cohort tables share one."""
    read = parsed(schema)
    return Checker({**read, "properties": {**read["properties"], **json.loads(more_columns)}})


def read_table(
    path: Path, schema_path: Path, key: str | None, more_columns: Mapping[str, Any] | None = None
) -> tuple[dict[str, tuple[int, Row]], list[str]]:
    """Read and check one CSV table.

    Parameters
    ----------
    key
        The column that tells rows apart; None where none does.
    more_columns
        Columns that the schema does not know, with their rules: name -> JSON Schema of a cell.

    Returns
    -------
    rows
        key -> (row number in the file, non-blank cells). A repeated key keeps its first row. Without a key column, the
        row number is the key.
    faults
        One line each.
    """
    checker = _checker(schema_path.read_text(encoding="utf-8"), json.dumps(more_columns or {}))
    if not os.path.isfile(path):  # noqa: PTH113 (a name too long for any file is no error here)
        return {}, [f"{path}: no such file, allowed: a CSV table with the columns {', '.join(checker.required)}"]
    try:
        sheet = sheets.read(path, checker.columns)
    except sheets.NoTable as error:
        return {}, [f"{path}{'' if error.row is None else f':{error.row}'}: {error}"]
    faults = _header_faults(f"{path}:1", sheet, checker)
    if any(column not in sheet.header for column in checker.required):
        return {}, faults
    rows: dict[str, tuple[int, Row]] = {}
    for record in sheet.records:
        where = f"{path}:{record.number}"
        if record.cells[0].startswith("#"):
            continue
        extra = record.cells[len(sheet.header) :]
        if len(record.cells) < len(sheet.header) or any(cell.strip() for cell in extra):
            faults.append(
                f"{where}: the number of cells ({len(record.cells)}) is not that of the header"
                f" ({len(sheet.header)}), allowed: equal numbers; is a comma in a cell without quotes?"
            )
            continue
        row, found = _row_of(where, sheet, record, checker)
        if not row and not found:
            continue
        faults += found or checker.faults(where, row)
        name = str(record.number) if key is None else row.get(key)
        if name in rows:
            faults.append(f"{where}:{key}: {name!r} is already in row {rows[name][0]}, allowed: unique ids")
        elif name is not None:
            rows[name] = (record.number, row)
    return rows, faults


def _header_faults(where: str, sheet: sheets.Sheet, checker: Checker) -> list[str]:
    """What is wrong with the names of the columns; one line where none of them is known."""
    named = [name for name in sheet.header if name]
    if not set(named) & set(checker.columns):
        start = ",".join(sheet.header[:4])
        return [f"{where}: {sheets.shown(start)} is no header, allowed: columns named {', '.join(checker.required)}, …"]
    faults = [
        f"{where}:{name}: unknown column, {nearest(name, checker.columns)}"
        for name in named
        if name not in checker.columns
    ]
    faults += [
        f"{where}:{column}: the column is there twice, allowed: once"
        for column in sorted({name for name in named if named.count(name) > 1})
    ]
    for i, name in enumerate(sheet.header):
        filled = [record for record in sheet.records if i < len(record.cells) and record.cells[i].strip()]
        if not name and filled and not filled[0].cells[0].startswith("#"):
            cell = sheets.shown(filled[0].cells[i].strip())
            faults.append(f"{where}: column {i + 1} has no name but holds {cell} in row {filled[0].number}")
    return faults + [
        f"{where}:{column}: missing column, {checker.allowed(column)}"
        for column in checker.required
        if column not in named
    ]


def _row_of(where: str, sheet: sheets.Sheet, record: sheets.Record, checker: Checker) -> tuple[Row, list[str]]:
    """The non-blank cells of known columns, and what no cell may hold: such a cell is left out."""
    row: Row = {}
    faults = []
    for name, text in zip(sheet.header, record.cells, strict=False):
        cell = sheets.cleaned(text)
        if not cell or name not in checker.columns:
            continue
        rule = checker.columns[name]
        bad = sheets.wrong(cell, rule.get("maxLength", sheets.MOST_CHARACTERS))
        if bad:
            faults.append(f"{where}:{name}: {bad}")
            continue
        if sheet.delimiter == ";" and re.fullmatch(r"\d*,\d+", cell) and passes(compiled(rule), cell.replace(",", ".")):
            cell = cell if passes(compiled(rule), cell) else cell.replace(",", ".")  # decimals as where ; parts cells
        row[name] = cell
    return row, faults
