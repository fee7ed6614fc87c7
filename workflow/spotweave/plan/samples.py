"""Cohort tables: their samples, and what one table's schema cannot say of a sample's row."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from spotweave.placing import PLACINGS
from spotweave.plan.statements import statement_faults
from spotweave.readers import layout, layout_fault
from spotweave.registry import nearest
from spotweave.sources import SOURCES, source_fault
from spotweave.tables import sheets, vocabulary
from spotweave.tables.rows import Row, read_table
from spotweave.transfer.files import parse_checksum

LONGEST_NAME = 100  # it becomes part of file names, beside others, in the 255 bytes of one


def read_cohorts(
    paths: Iterable[str], schema: Path, config_source: str
) -> tuple[dict[str, tuple[str, Row]], dict[str, tuple[str, ...]], list[str]]:
    """Read the cohort tables.

    Returns
    -------
    samples
        id -> (`file:row`, row with its `cohort`).
    cohorts
        Name -> ids of its samples.
    faults
        One line each.
    """
    samples: dict[str, tuple[str, Row]] = {}
    cohorts: dict[str, tuple[str, ...]] = {}
    faults: list[str] = []
    for path in map(Path, paths):
        rows, found = read_table(path, schema, "sample_id")
        faults += found
        if path.stem in cohorts:
            faults.append(f"{config_source}:cohorts: two tables are called {path.stem!r}, allowed: unique file names")
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", path.stem) or len(path.stem) > LONGEST_NAME:
            faults.append(
                f"{config_source}:cohorts: {path.stem!r} becomes part of file names, allowed: letters, digits,"
                f" hyphens and underscores, at most {LONGEST_NAME}"
            )
        if not rows and not found:
            faults.append(f"{path}: no rows, allowed: at least one sample")
        cohorts[path.stem] = tuple(sample for sample in rows if sample not in samples)
        for sample, (number, row) in rows.items():
            where = f"{path}:{number}"
            if sample in samples:
                faults.append(f"{where}:sample_id: {sample!r} is already in {samples[sample][0]}")
            else:
                samples[sample] = (where, {**row, "cohort": path.stem})
    return samples, cohorts, faults


def sample_faults(
    where: str, row: Row, technologies: Mapping[str, Row] | None, sources: Mapping[str, Row]
) -> list[str]:
    """What is wrong with a sample's row.

    Parameters
    ----------
    where
        `file:row`, for messages.
    technologies
        Rows of the table of technologies; None where it could not be read.
    sources
        Rows of the table of sources.
    """
    faults = []
    technology = row.get("technology", "")
    if technology and technologies is not None and technology not in technologies:
        faults.append(f"{where}:technology: {sheets.shown(technology)}, {nearest(technology, technologies)}")
    if "source" in row:
        faults += _source_faults(where, row, sources)
    faults += _checksum_faults(where, row)
    faults += [f"{where}:{column}: {fault}" for column, fault in vocabulary.faults(row)]
    known = (technologies or {}).get(technology, {})
    if known and not PLACINGS.fault(known.get("placing", "")):
        faults += statement_faults(where, row, known)
    return faults + _file_faults(where, row, known.get("reader", ""))


def _checksum_faults(where: str, row: Row) -> list[str]:
    faults = []
    for column in sorted(name for name in row if name.endswith("_checksum")):
        try:
            parse_checksum(row[column])
        except ValueError as error:
            faults.append(f"{where}:{column}: {error}")
        location = column.removesuffix("_checksum")
        if location not in row:
            faults.append(
                f"{where}:{column}: there is no {location} it could be of, allowed: a checksum beside its file"
            )
    return faults


def _source_faults(where: str, row: Row, sources: Mapping[str, Row]) -> list[str]:
    """A source is one that there is and that has its row; an accession looks like those of its source."""
    name = row["source"]
    unknown = SOURCES.fault(name)
    if unknown:
        return [f"{where}:source: {unknown}"]
    if name not in sources:
        return [f"{where}:source: {name!r} has no row in resources/sources.csv; add one"]
    # That the web lists nothing, and what is wrong with a source's module, is said once, elsewhere.
    if "accession" not in row or name == "https" or source_fault(name):
        return []
    if re.fullmatch(SOURCES.constant(name, "ACCESSION"), row["accession"]):
        return []
    allowed = f"allowed: as {name} writes it, {SOURCES.constant(name, 'EXAMPLE')}"
    return [f"{where}:accession: {sheets.shown(row['accession'])}, {allowed}"]


def _file_faults(where: str, row: Row, reader: str) -> list[str]:
    """A row says where its files are: each by itself, in an archive, or by the accession that holds them."""
    if "accession" in row:
        if row.get("source") == "https":
            return [f"{where}:accession: a web server lists no files, allowed: a source that does, or no accession"]
        return []
    if "files" in row:
        return [f"{where}:files: narrows an accession, and there is none, allowed: an accession beside it"]
    if "bundle" in row or layout_fault(reader):
        return []
    roles = layout(reader).roles
    lacking = [role for role in roles.needed if role not in row]
    if roles.either and not set(roles.either) & set(row):
        lacking.append(roles.either[0])
    return [
        f"{where}:{role}: empty, allowed: where the file is, or an accession whose listing has it"
        for role in lacking
        if not (role == "spots" and "spatial" in row)
    ]
