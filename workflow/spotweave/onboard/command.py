"""From an accession to a drafted table, and what to tell of it."""

from __future__ import annotations

from pathlib import Path

from spotweave.onboard import draft as onboard
from spotweave.onboard.accession import cohort_name, detect_source
from spotweave.onboard.table import Draft, faults, open_questions, write
from spotweave.sources import SOURCES
from spotweave.transfer.files import FetchSettings


def draft_table(root: Path, accession: str, source: str | None, out: Path | None, *, force: bool = False) -> list[str]:
    """Draft a cohort table from what an accession lists; nothing is fetched.

    Parameters
    ----------
    root
        The project's folder.
    accession
        An accession, a DOI, an address or a folder.
    source
        Where it is from; None where its look tells.
    out
        The table; None for `config/cohorts/<accession>.csv`.
    force
        Overwrite a table that is there.

    Returns
    -------
    Lines that say what was written and what remains to be found out.

    Raises
    ------
    Refusal, ValueError
        The accession cannot be listed, or its look does not tell its source.
    FileExistsError
        The table is there already.
    transfer.files.Unreachable
        The publisher is not to be had now.
    """
    if source is None:
        source, accession = detect_source(accession)
    stem = out.stem if out else cohort_name(source, accession)
    path = out or root / "config/cohorts" / f"{stem}.csv"
    if path.exists() and not force:
        raise FileExistsError(f"{path} is there already; name another with --out, or overwrite it with --force")
    listing = SOURCES.load(source).list_files(accession, FetchSettings())
    draft = onboard.draft(listing, source, stem)
    write(draft, path, force=force)
    found = f"{len(draft.rows)} samples from {len(listing.files)} files of {listing.accession} ({source})"
    return [f"{path}: {found}", *_report(draft, path, root)]


def _report(draft: Draft, path: Path, root: Path) -> list[str]:
    suggested = [
        f"{column} = {value} in {count} row{'s' if count > 1 else ''}, from {where}"
        for (column, value, where), count in sorted(draft.suggested.items())
    ]
    return [
        *_section("Remarks", draft.remarks),
        *_section("Suggested by names; please check", suggested),
        *_section("To find out (each ? in the table)", open_questions(draft, path)),
        *_section("Faults", faults(path, root, draft)),
    ]


def _section(title: str, lines: list[str]) -> list[str]:
    return [f"\n{title}:", *(f"  {line}" for line in lines)] if lines else []
