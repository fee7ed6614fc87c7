"""Serve the simulated demo deposit while a command runs.

The command finds the deposit through the mirror in SPOTWEAVE_MIRRORS, as if it were the publishers' servers: GEO's,
10x Genomics', and one of plain addresses. Without a command the deposit is served until interrupted.
"""

import argparse
import logging
import sys
from pathlib import Path

import _stage  # noqa: F401 (puts the library on the path)
from spotweave.simulate.serving import serve_while

parser = argparse.ArgumentParser(prog="serve_demo.py", description=__doc__, usage="%(prog)s --folder F -- command …")
parser.add_argument("--folder", type=Path, required=True, help="where the deposit lies, or is to lie")


def main(argv):
    mark = argv.index("--") if "--" in argv else len(argv)
    folder, command = parser.parse_args(argv[:mark]).folder, argv[mark + 1 :]
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        return serve_while(folder, command)
    except FileExistsError as error:
        parser.error(str(error))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
