"""Cells of a row that state something where others name a file."""

from __future__ import annotations

from collections.abc import Collection

from spotweave.placing import PLACINGS
from spotweave.tables.rows import Row

IDENTITY = "identity"  # the H&E lies on the grid of the instrument's own picture
STATED = {"alignment": (IDENTITY,)}


def files_named(row: Row, file_columns: Collection[str]) -> Row:
    """The cells that say where a file is, by role."""
    cells = {role: row[role] for role in file_columns if role in row}
    return {role: cell for role, cell in cells.items() if cell not in STATED.get(role, ())}


def stated_alignment(row: Row) -> str:
    """What a row states of its alignment without a file, such as `identity`; empty for nothing."""
    return row["alignment"] if row.get("alignment") in STATED["alignment"] else ""


def statement_faults(where: str, row: Row, technology: Row) -> list[str]:
    """What is wrong with a row's statements: only registration judges whether an alignment holds."""
    stated = stated_alignment(row)
    if not stated or "registration" in PLACINGS.constant(technology.get("placing", ""), "TAKES", ()):
        return []
    return [
        f"{where}:alignment: {stated!r} is judged by registering, which {row['technology']} samples are not,"
        " allowed: where the alignment file is, or nothing"
    ]
