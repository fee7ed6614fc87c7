"""Write a dataset that was built in the layout of STimage-1K4M.

python scripts/export_stimage.py results/her2st --out stimage
"""

import argparse
import sys
from pathlib import Path

import _stage  # noqa: F401 (puts the library on the path)
from spotweave.errors import Refusal

LAYOUT = argparse.RawDescriptionHelpFormatter

parser = argparse.ArgumentParser(prog="export_stimage.py", description=__doc__, formatter_class=LAYOUT)
parser.add_argument("results", type=Path, help="the dataset's folder, results/<dataset>")
parser.add_argument("--out", type=Path, required=True, help="the folder that is made")
parser.add_argument("--samples", nargs="*", default=[], help="names of samples; all, if not given")
parser.add_argument("--labels", nargs="*", default=[], help="tables of labels of spots, as file or sample=file")


def main():
    from spotweave.stimage.exporting import export

    args = parser.parse_args()
    try:
        print(export(args.results, args.out, args.samples, args.labels))
    except Refusal as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
