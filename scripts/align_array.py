"""Put the spots onto the slide: fit their lattice, measure the pixel size, refuse what does not fit."""

from _stage import Stage

stage = Stage("align_array", __doc__, inputs=["manifest", "spots", "reading", "fiducials*"], outputs=["alignment"])
stage.option("--array-pitch-x-um", type=float, help="by default that of the capture area")
stage.option("--array-pitch-y-um", type=float)
stage.option("--spot-diameter-um", type=float)
stage.option("--spots-to-image-scale", type=float, default=1.0)
stage.option("--stated-pixel-size-um", type=float, help="what the source states, if anything")
stage.option("--limits", required=True, help="JSON of the configuration's limits")


def work(args):
    import json

    import numpy as np
    import pandas as pd

    from spotweave.align import lattice, pixel_size, placing
    from spotweave.errors import Refusal
    from spotweave.io import read_json, write_json
    from spotweave.raw import raw_file
    from spotweave.slide.pyramid import read_header

    reading = read_json(args.reading)["measures"]
    frame = read_json(args.fiducials[0]) if args.fiducials else None
    limits = json.loads(args.limits)
    pitch_um = placing.array_pitch_um((args.array_pitch_x_um, args.array_pitch_y_um), reading.get("capture_area"))
    if pitch_um is None:
        raise Refusal(
            "the sample is read, but bins and cells cannot be placed on the H&E yet; its counts are in expression.h5ad"
        )
    table = pd.read_csv(args.spots)
    image = raw_file(args.manifest, "image")
    header = read_header(image)
    size_px = (header.width_px, header.height_px)
    array = table[["array_col", "array_row"]].to_numpy()
    area_report = placing.check_area(placing.usable(frame), reading.get("capture_area"), reading.get("slide_area"))
    placed = placing.place(
        array * np.asarray(pitch_um),
        table[["x_px", "y_px"]].to_numpy(dtype=float) * args.spots_to_image_scale,
        reading.get("positions_from", "positions file"),
        frame,
        limits,
    )
    spots = lattice.Spots(array=array, xy_px=placed.xy_px, in_tissue=table["in_tissue"].to_numpy() == 1)
    fit = lattice.align(spots, pitch_um, lattice.Picture(image.name, size_px), limits)
    measured = {**lattice.describe(fit), **placed.report, **area_report}
    scalefactors = reading.get("scalefactors", {})
    estimates = pixel_size.gather(
        fit=fit,
        is_placed_by_frame=placed.source == placing.FRAME,
        frame=placing.usable(frame),
        tag_um=header.pixel_size_um,
        spot_diameter_px=scalefactors.get("spot_diameter_fullres"),
        fiducial_diameter_px=scalefactors.get("fiducial_diameter_fullres"),
        capture_area=reading.get("capture_area"),
        stated_um=args.stated_pixel_size_um,
    )
    reconciled = pixel_size.reconcile(estimates, limits, scalefactors)
    measured |= pixel_size.describe(reconciled)
    measured["pixel_size_embedded_um"] = header.pixel_size_um
    if args.stated_pixel_size_um is not None:
        measured["pixel_size_stated_um"] = args.stated_pixel_size_um
        measured["pixel_size_stated_deviation"] = round(args.stated_pixel_size_um / reconciled.pixel_size_um - 1, 4)
    measured["spot_pitch_um"] = round(lattice.nearest_neighbour_um(spots.array, pitch_um), 2)
    measured["spots_outside_picture"] = int(lattice.outside_picture(spots.xy_px, size_px).sum())
    frame = {
        "from": "array, um, x right along the columns, y down along the rows, origin at array position (0, 0)",
        "to": "slide, px of the full-resolution picture, x right, y down, origin at its top-left corner",
        "matrix": fit.matrix.tolist(),
        "array_pitch_um": pitch_um,
        "spot_diameter_um": args.spot_diameter_um,
        "spots_to_image_scale": args.spots_to_image_scale,
        "is_placed_by_frame": placed.source == placing.FRAME,
        "image_width_px": size_px[0],
        "image_height_px": size_px[1],
    }
    write_json(args.alignment, {**frame, **measured})
    return measured


if __name__ == "__main__":
    stage.run(work)
