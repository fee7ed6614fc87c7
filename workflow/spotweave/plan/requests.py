"""What a sample's row asks the fetch for: files by role, with checksums, and the sources that bring them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from spotweave.addresses import public_row
from spotweave.plan.statements import files_named
from spotweave.plan.tables import Tables
from spotweave.readers import READERS
from spotweave.sources import SOURCES, find_place
from spotweave.tables.rows import Row
from spotweave.transfer.local import local_sizes


def fetch_options(tables: Tables, sample: str, raw_dir: str, cohort_table: str) -> dict[str, Any]:
    """The options of the fetch script, licence and folder among them.

    Commands are logged: an address that holds a token is given without it, and the script looks into `cohort_table`,
    the path of the sample's cohort table, which is then part of the request.
    """
    row = tables.samples[sample]
    columns = tables.file_columns
    there = files_named(row, columns)
    named = public_row(there, columns)
    request: dict[str, Any] = {
        "sample": sample,
        "reader": tables.reader_of(sample),
        "given": {
            role: {"location": location, "checksum": row.get(f"{role}_checksum", "")}
            for role, location in named.items()
        },
        **{name: row[name] for name in ("source", "accession", "files", "unit") if name in row},
    }
    if any(there[role] != location for role, location in named.items()):
        request["table"] = cohort_table
    return {
        "request": request,
        "folder": f"{raw_dir}/{row['cohort']}/{sample}",
        "licence": row.get("licence", "unspecified"),
    }


def local_bytes(row: Row, file_columns: Collection[str]) -> list[str]:
    """Sizes of the local files that a row names, as `path:bytes`; what cannot be looked at is the fetch's to refuse.

    A parameter of the fetch: a file that appears, goes or changes its size is noticed at the next run.
    """
    if row["source"] != "file":
        return []
    accession = row.get("accession")
    files = [find_place(cell, "file", accession) for cell in files_named(row, file_columns).values()]
    named = [file.location for file in files if file.source == "file"]
    return local_sizes(named, accession if not row.get("counts") else None)


def used_sources(row: Row, file_columns: Collection[str]) -> frozenset[str]:
    """The sources of a row's files: its own, and that of each file that names another."""
    accession = row.get("accession")
    named = files_named(row, file_columns).values()
    used = {find_place(cell, row["source"], accession).source for cell in named}
    return frozenset({row["source"], *used})


def fetch_modules(tables: Tables, sample: str) -> list[str]:
    """The entries that a sample's fetch loads, as a code hash names them: its sources, and its reader's layout."""
    used = sorted(used_sources(tables.samples[sample], tables.file_columns))
    return [*map(SOURCES.module, used), READERS.module(tables.reader_of(sample), "layout")]
