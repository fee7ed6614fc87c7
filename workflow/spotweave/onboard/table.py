"""The drafted cohort table as a file, what it asks for, and what the workflow would say of it."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from spotweave.errors import TableFaults
from spotweave.io import atomic
from spotweave.plan import tables

COLUMNS = (
    "sample_id",
    "donor",
    "dataset_title",
    "subseries",
    "technology",
    "species",
    "organ",
    "tissue",
    "disease_state",
    "oncotree_code",
    "preservation",
    "licence",
    "study_link",
    "download_page",
    "source",
    "accession",
    "files",
    "unit",
    "url_confidence",
    "notes",
)


@dataclass
class Draft:
    """Rows of a cohort table (column -> cell).

    Attributes
    ----------
    questions
        (index of a row, column) -> what to find out, where to look.
    suggested
        (column, value, where it comes from) -> number of rows.
    remarks
        What else a person should know, one line each.
    """

    rows: list[dict[str, str]] = field(default_factory=list)
    questions: dict[tuple[int, str], str] = field(default_factory=dict)
    suggested: dict[tuple[str, str, str], int] = field(default_factory=lambda: defaultdict(int))
    remarks: list[str] = field(default_factory=list)


def write(result: Draft, path: Path, *, force: bool = False) -> None:
    """Write a draft as a cohort table; columns without a cell are left out.

    Raises
    ------
    FileExistsError
        The table is there and `force` is not given.
    """
    if path.exists() and not force:
        raise FileExistsError(f"{path} is there already; name another with --out, or overwrite it with --force")
    used = {column for row in result.rows for column, cell in row.items() if cell}
    extra = sorted(used - set(COLUMNS))
    columns = [column for column in (*COLUMNS[:-2], *extra, *COLUMNS[-2:]) if column in used]
    with atomic(path) as part, open(part, "w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows({column: row.get(column, "") for column in columns} for row in result.rows)


def open_questions(result: Draft, path: Path) -> list[str]:
    """`file:row:column: what to find out; where to look` for each `?`; rows that ask the same share a line (`2-5`)."""
    rows: dict[tuple[str, str], list[int]] = defaultdict(list)
    for (index, column), what in sorted(result.questions.items()):
        rows[column, what].append(index + 2)  # the header is row 1
    order = {column: i for i, column in enumerate(COLUMNS)}
    asked = sorted(rows.items(), key=lambda one: (one[1][0], order.get(one[0][0], len(order)), one[0]))
    return [f"{path}:{_ranges(numbers)}:{column}: {what}" for (column, what), numbers in asked]


def _ranges(numbers: Sequence[int]) -> str:
    """Ascending numbers, runs as `2-5`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def faults(path: Path, root: Path, result: Draft) -> list[str]:
    """What the workflow would say of the table, less what is asked for already.

    Parameters
    ----------
    path
        The table.
    root
        The project's folder, with the configuration and the schemas.
    """
    config: dict[str, Any] = yaml.safe_load((root / "config/config.yaml").read_text(encoding="utf-8"))
    config.update(cohorts=[str(path)], tasks=[], recipes=[], select="", allow_licences=[])
    for key in [name for name in config if name.endswith("_table")]:
        config[key] = str(root / config[key])
    try:
        tables.load(config, root)
    except TableFaults as found:
        asked = tuple(f"{path}:{index + 2}:{column}:" for index, column in result.questions)
        return [fault for fault in found.faults if not fault.startswith(asked or ("\0",))]
    return []
