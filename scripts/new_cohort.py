"""Draft a cohort table from an accession, a DOI, an address or a folder.

python scripts/new_cohort.py GSE190811
python scripts/new_cohort.py https://zenodo.org/records/7760264 --out config/cohorts/valdeolivas.csv

Files are listed, not fetched. Cells that nothing tells hold a `?`; below the table's name stands what to find out for
each, and where to look. Nothing is overwritten without --force.
"""

import argparse
import sys
from pathlib import Path

import _stage  # noqa: F401 (puts the library on the path)
from spotweave.errors import Refusal
from spotweave.onboard.command import draft_table
from spotweave.transfer.files import Unreachable

ROOT = Path(__file__).resolve().parents[1]
LAYOUT = argparse.RawDescriptionHelpFormatter

parser = argparse.ArgumentParser(prog="new_cohort.py", description=__doc__, formatter_class=LAYOUT)
parser.add_argument("accession", help="GSE190811, 10.5281/zenodo.7760264, an address, a folder …")
parser.add_argument("--source", help="where it is from, if its look does not tell (resources/sources.csv)")
parser.add_argument("--out", type=Path, help="the table; config/cohorts/<accession>.csv if not given")
parser.add_argument("--force", action="store_true", help="overwrite a table")


def main():
    args = parser.parse_args()
    try:
        print(*draft_table(ROOT, args.accession, args.source, args.out, force=args.force), sep="\n")
    except (Refusal, FileExistsError, Unreachable, ValueError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
