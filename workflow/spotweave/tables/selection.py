"""Which rows of the cohort tables a run builds: by a query on their cells and by the licences allowed.

Nothing heavy is imported here: rows are chosen before the first job.
"""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

Row = Mapping[str, str]
BLANK = "unspecified"


def parse_query(text: str, columns: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Parse `organ=Breast technology=Xenium,Visium`: columns and the values that are wanted.

    Parameters
    ----------
    text
        `column=value` pairs, separated by blanks; several values by commas; quotes keep blanks (`"organ=Lymph node"`).
    columns
        The columns there are.

    Raises
    ------
    ValueError
        Says which part is wrong and what is allowed.
    """
    known = sorted(columns)
    wanted: dict[str, tuple[str, ...]] = {}
    for part in shlex.split(text):
        column, equals, values = part.partition("=")
        if not equals or not values:
            raise ValueError(f"'{part}' is not column=value; put quotes round what has blanks")
        if column not in known:
            near = difflib.get_close_matches(column, known, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"allowed: {', '.join(known)}"
            raise ValueError(f"'{column}' is not a column of the cohort tables, {hint}")
        if column in wanted:
            raise ValueError(f"'{column}' is asked for twice; write {column}=one,other")
        wanted[column] = tuple(value.strip().casefold() for value in values.split(","))
    return wanted


def choose(
    samples: Mapping[str, Row], query: Mapping[str, tuple[str, ...]], licences: Iterable[str]
) -> tuple[list[str], dict[str, str]]:
    """The samples to build, and why each of the others is left out.

    Parameters
    ----------
    samples
        Rows by sample.
    query
        As `parse_query` returns it; a row meets it if each column holds one of the values, whatever their case.
        A blank cell meets `column=unspecified`.
    licences
        SPDX identifiers that are allowed, and `unspecified`; none at all allows every licence.
    """
    allowed = {licence.casefold() for licence in licences}
    chosen: list[str] = []
    left_out: dict[str, str] = {}
    for sample, row in samples.items():
        missed = [column for column, values in query.items() if not _meets(row, column, values)]
        licence = row.get("licence", BLANK)
        if missed:
            left_out[sample] = f"not selected: {missed[0]} is {row.get(missed[0], BLANK)}"
        elif allowed and licence.casefold() not in allowed:
            left_out[sample] = f"licence {licence} is not allowed"
        else:
            chosen.append(sample)
    return chosen, left_out


def _meets(row: Row, column: str, values: tuple[str, ...]) -> bool:
    cell = row.get(column, BLANK).casefold()
    return cell in values or (column == "sets" and not set(cell.split()).isdisjoint(values))


def values_there(samples: Mapping[str, Row], query: Mapping[str, Any]) -> str:
    """What the queried columns hold, for a message after a query without result."""
    lines = []
    for column in query:
        there = sorted({row.get(column, BLANK) for row in samples.values()})
        lines.append(f"{column}: {', '.join(there[:20])}{' …' if len(there) > 20 else ''}")
    return "; ".join(lines)
