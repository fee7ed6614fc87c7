"""List the samples of a configuration that a query chooses: what `--config select=…` would build.

python scripts/query.py organ=Breast technology=Xenium
python scripts/query.py --count organ technology
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

import yaml

import _stage  # noqa: F401 (puts the library on the path)
from spotweave.errors import TableFaults
from spotweave.plan import tables
from spotweave.tables import selection

ROOT = Path(__file__).resolve().parents[1]
SHOWN = ("sample_id", "donor", "technology", "species", "organ", "oncotree_code", "licence", "source", "accession")


def main(argv: list[str]) -> int:
    """Print the table; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="query.py", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("query", nargs="*", help="column=value[,value…]; with --count, columns")
    parser.add_argument("--configfile", type=Path, default=ROOT / "config/catalogue.yaml")
    parser.add_argument("--allow-licences", nargs="*", default=[], help="SPDX identifiers; default: any licence")
    parser.add_argument("--count", action="store_true", help="count the samples by these columns instead")
    arguments = parser.parse_args(argv)
    config = {
        **yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8")),
        **yaml.safe_load(arguments.configfile.read_text(encoding="utf-8")),
    }
    config["cohorts"] = [str(ROOT / path) for path in config["cohorts"]]
    for key in ("technologies_table", "encoders_table", "tasks_table", "recipes_table"):
        config[key] = str(ROOT / config[key])
    config["allow_licences"] = arguments.allow_licences
    if not arguments.count:
        # Quoted once more: the shell has taken the quotes that hold a value with blanks together.
        config["select"] = " ".join(f"'{part}'" for part in arguments.query)
    try:
        known = tables.load(config, ROOT, str(arguments.configfile))
    except TableFaults as faults:
        print(faults, file=sys.stderr)
        return 1
    if arguments.count:
        cells = [
            tuple(row.get(column, selection.BLANK) for column in arguments.query) for row in known.samples.values()
        ]
        for values, count in sorted(Counter(cells).items()):
            print(f"{count}\t" + "\t".join(values))
    else:
        print("\t".join(SHOWN))
        for row in known.samples.values():
            print("\t".join(row.get(column, "") for column in SHOWN))
    print(f"{len(known.samples)} samples, {len(known.left_out)} left out", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
