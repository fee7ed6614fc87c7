"""Fit the fiducial frame in any picture of a Visium slide: prints the measures, draws the overlay if asked.

python scripts/fit_frame.py tissue_hires_image.png --overlay frame.png
"""

import argparse
import json
import sys
from pathlib import Path

import _stage  # noqa: F401 (puts the library on the path)

ROOT = Path(__file__).resolve().parents[1]

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("picture", type=Path)
parser.add_argument("--overlay", type=Path, help="PNG to draw")
parser.add_argument("--spots", type=Path, help="CSV to write: array_row, array_col, x_px, y_px of every spot")
parser.add_argument("--weights", type=Path, default=ROOT / "resources/fiducial_detector/weights.safetensors")


def main():
    args = parser.parse_args()
    from spotweave.errors import Refusal
    from spotweave.fiducials.sample import fit_picture

    try:
        measures = fit_picture(args.picture, args.weights, args.overlay, args.spots)
    except (Refusal, OSError) as error:
        sys.exit(str(error))
    print(json.dumps(measures, indent=1))
    sys.exit(0 if measures["is_usable"] else 1)


if __name__ == "__main__":
    main()
