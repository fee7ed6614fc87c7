"""Measure where the dots of 6.5 mm frames are printed, from pictures of whole frames, and write the mean of all.

    python scripts/measure_fiducial_print.py --table resources/fiducial_print.csv frame1.png frame2.png …

Each picture's frame is fitted on the ideal lattice; what the dots are off it, averaged over the pictures by dot and
capture area, is the print. A picture whose fit is not accepted is left out and named.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--weights", type=Path, default=Path("resources/fiducial_detector/weights.safetensors"))
    parser.add_argument("pictures", type=Path, nargs="+")
    args = parser.parse_args()

    from spotweave.fiducials.detector import Detector
    from spotweave.fiducials.find import find
    from spotweave.fiducials.printing import average, residuals_of, to_table
    from spotweave.io import atomic
    from spotweave.pictures.header import read_header

    detector = Detector(args.weights)
    residuals, letters = [], []
    for path in args.pictures:
        header = read_header(path)
        found = find(path, (header.width_px, header.height_px), detector, areas=("6.5 mm",), printing=None)
        if found.fit is None or found.complaints:
            print(f"{path}: left out, {found.complaints[0].reason}")
            continue
        print(f"{path}: area {found.fit.letter}, {found.fit.dots_matched} dots, {found.fit.residual_median_um:.1f} um")
        residuals.append(residuals_of(found.fit.dots_um, found.fit.residual_um))
        letters.append(found.fit.letter or "")
    if not residuals:
        sys.exit("no picture with a whole frame: nothing written")
    with atomic(args.table) as part:
        to_table(average(residuals, letters)).to_csv(part, index=False, lineterminator="\n")


if __name__ == "__main__":
    main()
