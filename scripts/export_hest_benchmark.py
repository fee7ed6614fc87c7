"""Write a task of a benchmark that was run in the layout of HEST-Benchmark's released folder.

python scripts/export_hest_benchmark.py results/her2st her2st --out released
"""

import argparse
import sys
from pathlib import Path

import _stage  # noqa: F401 (puts the library on the path)
from spotweave.errors import Refusal

LAYOUT = argparse.RawDescriptionHelpFormatter

parser = argparse.ArgumentParser(prog="export_hest_benchmark.py", description=__doc__, formatter_class=LAYOUT)
parser.add_argument("results", type=Path, help="the dataset's folder, results/<dataset>")
parser.add_argument("task", help="name of the task")
parser.add_argument("--out", type=Path, required=True, help="where the task's folder is made")
parser.add_argument("--protocol", default="hest_exact", help="whose genes are exported; the same in all folds")


def main():
    from spotweave.released.command import export

    args = parser.parse_args()
    try:
        print(export(args.results, args.task, args.out, args.protocol))
    except Refusal as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
