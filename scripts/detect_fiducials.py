"""Find the printed frame of a Visium slide in its picture and lay the array onto it, measured.

A picture without a frame (cropped, or another instrument's) is no reason to refuse: whether a sample needs one is the
aligner's to say. Refused is what cannot be read.
"""

from _stage import Stage

PICTURE_PX = 2048

stage = Stage("detect_fiducials", __doc__, inputs=["manifest"], outputs=["fiducials", "overlay"])
stage.option("--sample", required=True)
stage.option("--weights", required=True, help="of the corner detector")
stage.option("--printing", required=True, help="table of the printed places of dots")


def work(args):
    from pathlib import Path

    from spotweave.deposits.raw import RawFile, raw_file
    from spotweave.fiducials import verdict
    from spotweave.fiducials.cytassist import to_slide
    from spotweave.fiducials.detector import Detector
    from spotweave.fiducials.find import find
    from spotweave.fiducials.pictures import write_overlay
    from spotweave.io import read_json, write_json
    from spotweave.pictures.reduced import read_reduced
    from spotweave.slide.pyramid import read_header
    from spotweave.visium.loupe import read_loupe

    roles = {file["role"] for file in read_json(args.manifest)["files"]}
    role = "cytassist_image" if "cytassist_image" in roles else "image"
    path = raw_file(args.manifest, role)
    header = read_header(path)
    size_px = (header.width_px, header.height_px)
    found = find(path, size_px, Detector(Path(args.weights)), printing=Path(args.printing))
    reasons = [complaint.reason for complaint in found.complaints]
    measured = {
        "picture": role,
        "is_usable": not reasons,
        "complaints": reasons,
        "fitted_at_um": round(found.fitted_at_um, 3) if found.fitted_at_um else None,
        "corners_detected": len(found.detections),
        **verdict.describe(found.fit),
    }
    on_slide = found.fit.matrix if found.fit is not None and role == "image" else None
    if found.fit is not None and role == "cytassist_image" and "alignment" in roles:
        alignment = raw_file(args.manifest, "alignment")
        to_instrument = read_loupe(RawFile(alignment.name, alignment)).to_instrument
        on_slide = None if to_instrument is None else to_slide(found.fit.matrix, to_instrument)
    content = {
        "from": "array, um, x right along the columns, y down along the rows, origin at array position (0, 0)",
        "to": f"px of the {role} as filed, x right, y down, origin at its top-left corner",
        **measured,
        "matrix_to_slide": None if on_slide is None else on_slide.tolist(),
        "detections": [vars(detection) for detection in found.detections],
    }
    write_json(args.fiducials, content)
    picture, scale = read_reduced(path, PICTURE_PX / max(size_px))
    smaller = (1 / scale[0], 1 / scale[1])
    write_overlay(
        args.overlay,
        picture,
        None if found.fit is None else found.fit.in_larger_picture(smaller),
        [detection.enlarged(smaller) for detection in found.detections],
        title=args.sample,
        reasons=reasons,
        pixel_size_um=None if found.fit is None else found.fit.pixel_size_um,
        printing=Path(args.printing),
    )
    return {name: value for name, value in measured.items() if name not in ("matrix", "corners_matrix")}


if __name__ == "__main__":
    stage.run(work)
