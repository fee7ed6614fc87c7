"""Draft a cohort table from an accession, a DOI, an address or a folder.

python scripts/new_cohort.py GSE190811
python scripts/new_cohort.py https://zenodo.org/records/7760264 --out config/cohorts/valdeolivas.csv

Files are listed, not fetched. Cells that nothing tells hold a `?`; below the table's name stands what to find out for
each, and where to look. Nothing is overwritten without --force.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import _stage  # noqa: F401 (puts the library on the path)
from spotweave import sources
from spotweave.errors import Refusal
from spotweave.onboard import draft as onboard
from spotweave.onboard.accession import cohort_name, detect_source
from spotweave.onboard.table import Draft, faults, open_questions, write
from spotweave.transfer.files import FetchSettings, Listing, Unreachable

ROOT = Path(__file__).resolve().parents[1]


def main(argv: list[str]) -> int:
    """Write the draft and say what remains; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="new_cohort.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("accession", help="GSE190811, 10.5281/zenodo.7760264, an address, a folder …")
    parser.add_argument("--source", help="where it is from, if its look does not tell (resources/sources.csv)")
    parser.add_argument("--out", type=Path, help="the table; config/cohorts/<accession>.csv if not given")
    parser.add_argument("--force", action="store_true", help="overwrite a table")
    arguments = parser.parse_args(argv)
    try:
        return _draft(arguments)
    except (Refusal, FileExistsError, Unreachable, ValueError) as error:
        print(error, file=sys.stderr)
        return 1


def _draft(arguments: argparse.Namespace) -> int:
    source, accession = arguments.source, arguments.accession
    if source is None:
        source, accession = detect_source(accession)
    stem = arguments.out.stem if arguments.out else cohort_name(source, accession)
    path = arguments.out or ROOT / "config/cohorts" / f"{stem}.csv"
    if path.exists() and not arguments.force:
        raise FileExistsError(f"{path} is there already; name another with --out, or overwrite it with --force")
    listing = sources.SOURCES.load(source).list_files(accession, FetchSettings())
    draft = onboard.draft(listing, source, stem)
    write(draft, path, force=arguments.force)
    _report(draft, path, listing, source)
    return 0


def _report(draft: Draft, path: Path, listing: Listing, source: str) -> None:
    print(f"{path}: {len(draft.rows)} samples from {len(listing.files)} files of {listing.accession} ({source})")
    _section("Remarks", draft.remarks)
    suggested = [
        f"{column} = {value} in {count} row{'s' if count > 1 else ''}, from {where}"
        for (column, value, where), count in sorted(draft.suggested.items())
    ]
    _section("Suggested by names; please check", suggested)
    _section("To find out (each ? in the table)", open_questions(draft, path))
    _section("Faults", faults(path, ROOT, draft))


def _section(title: str, lines: list[str]) -> None:
    if lines:
        print(f"\n{title}:", *lines, sep="\n  ")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
