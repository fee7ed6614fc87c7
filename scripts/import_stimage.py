"""Make a dataset's folder of slides in the layout of STimage-1K4M.

python scripts/import_stimage.py ~/STimage-1K4M --slides Human_Breast_Andersson_10142021_ST_A1 --out results/andersson
"""

import argparse
import sys
from pathlib import Path

import _stage  # noqa: F401 (puts the library on the path)
from spotweave.errors import Refusal

LAYOUT = argparse.RawDescriptionHelpFormatter
WAYS = ("agreement", "spacing", "radius")

parser = argparse.ArgumentParser(prog="import_stimage.py", description=__doc__, formatter_class=LAYOUT)
parser.add_argument("folder", type=Path, help="the folder that holds ST, Visium, VisiumHD and meta")
parser.add_argument("--out", type=Path, required=True, help="the folder that is made, results/<dataset>")
parser.add_argument("--slides", nargs="*", default=[], help="names of slides; all, if not given")
parser.add_argument("--pixel-size-from", choices=WAYS, default=WAYS[0], help="where they disagree")


def main():
    from spotweave.stimage.importing import import_folder

    args = parser.parse_args()
    try:
        print(import_folder(args.folder, args.out, args.slides, args.pixel_size_from))
    except Refusal as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
