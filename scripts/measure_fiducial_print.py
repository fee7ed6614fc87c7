"""Measure where the dots of 6.5 mm frames are printed, from pictures of whole frames, and write the mean of all.

    python scripts/measure_fiducial_print.py --table resources/fiducial_print.csv frame1.png frame2.png …

Each picture's frame is fitted on the ideal lattice; what the dots are off it, averaged over the pictures by dot and
capture area, is the print. A picture whose fit is not accepted is left out and named.
"""

import argparse
import sys
from pathlib import Path

import _stage  # noqa: F401 (puts the library on the path)

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--table", type=Path, required=True)
parser.add_argument("--weights", type=Path, default=Path("resources/fiducial_detector/weights.safetensors"))
parser.add_argument("pictures", type=Path, nargs="+")


def main():
    args = parser.parse_args()
    from spotweave.errors import Refusal
    from spotweave.fiducials.measuring import measure_print

    try:
        for line in measure_print(args.pictures, args.weights, args.table):
            print(line)
    except (Refusal, OSError, ValueError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
