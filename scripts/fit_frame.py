"""Fit the fiducial frame in any picture of a Visium slide: prints the measures, draws the overlay if asked.

python scripts/fit_frame.py tissue_hires_image.png --overlay frame.png
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

ROOT = Path(__file__).resolve().parents[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--overlay", type=Path, help="PNG to draw")
    parser.add_argument("--spots", type=Path, help="CSV to write: array_row, array_col, x_px, y_px of every spot")
    parser.add_argument("--weights", type=Path, default=ROOT / "resources/fiducial_detector/weights.safetensors")
    args = parser.parse_args()

    import pandas as pd

    from spotweave.errors import Refusal
    from spotweave.fiducials import verdict
    from spotweave.fiducials.detector import Detector
    from spotweave.fiducials.find import find
    from spotweave.fiducials.pictures import write_overlay
    from spotweave.geometry import apply
    from spotweave.io import atomic
    from spotweave.pictures.reduced import read_reduced
    from spotweave.slide.pyramid import read_header
    from spotweave.visium.array import capture_area

    try:
        header = read_header(args.picture)
        found = find(args.picture, (header.width_px, header.height_px), Detector(args.weights))
    except (Refusal, OSError) as error:
        sys.exit(str(error))
    reasons = [complaint.reason for complaint in found.complaints]
    print(json.dumps({"is_usable": not reasons, "complaints": reasons, **verdict.describe(found.fit)}, indent=1))
    if args.overlay:
        picture, scale = read_reduced(args.picture, 2048 / max(header.width_px, header.height_px))
        smaller = (1 / scale[0], 1 / scale[1])
        fit = None if found.fit is None else found.fit.in_larger_picture(smaller)
        detections = [detection.enlarged(smaller) for detection in found.detections]
        pixel_size_um = None if found.fit is None else found.fit.pixel_size_um
        told = {"title": args.picture.name, "reasons": reasons, "pixel_size_um": pixel_size_um}
        write_overlay(args.overlay, picture, fit, detections, **told)
    if args.spots and found.fit is not None and not reasons:
        area = capture_area(found.fit.area)
        table = pd.DataFrame(area.places(), columns=["array_row", "array_col"])
        table[["x_px", "y_px"]] = apply(found.fit.matrix, area.spots_um()).round(3)
        with atomic(args.spots) as part:
            table.to_csv(part, index=False)
    sys.exit(1 if reasons else 0)


if __name__ == "__main__":
    main()
