"""List the samples of a configuration that a query chooses: what `--config select=…` would build.

python scripts/query.py organ=Breast technology=Xenium
python scripts/query.py --count organ technology
"""

import argparse
import signal
import sys
from pathlib import Path

import _stage  # noqa: F401 (puts the library on the path)
from spotweave.errors import TableFaults
from spotweave.plan import query

ROOT = Path(__file__).resolve().parents[1]

parser = argparse.ArgumentParser(prog="query.py", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
parser.add_argument("query", nargs="*", help="column=value[,value…]; with --count, columns")
parser.add_argument("--configfile", type=Path, default=ROOT / "config/catalogue.yaml")
parser.add_argument("--allow-licences", nargs="*", default=[], help="SPDX identifiers; default: any licence")
parser.add_argument("--count", action="store_true", help="count the samples by these columns instead")


def main():
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` ends a list, which is no fault
    args = parser.parse_args()
    try:
        known = query.choose(ROOT, args.configfile, [] if args.count else args.query, args.allow_licences)
    except TableFaults as faults:
        sys.exit(str(faults))
    print(*(query.counted(known, args.query) if args.count else query.listed(known)), sep="\n")
    print(f"{len(known.samples)} samples, {len(known.left_out)} left out", file=sys.stderr)


if __name__ == "__main__":
    main()
