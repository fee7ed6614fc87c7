"""Put the spots onto the slide: fit their lattice, measure the pixel size, refuse what does not fit."""

from _stage import Stage

stage = Stage("align_array", __doc__, inputs=["manifest", "spots"], outputs=["alignment"])
stage.option("--array-pitch-x-um", type=float, help="missing for technologies whose samples are read but not placed")
stage.option("--array-pitch-y-um", type=float)
stage.option("--spot-diameter-um", type=float)
stage.option("--spots-to-image-scale", type=float, default=1.0)
stage.option("--stated-pixel-size-um", type=float, help="what the source states, if anything")
stage.option("--limits", required=True, help="JSON of the configuration's limits")


def work(args):
    import json

    import pandas as pd

    from spotweave.align import lattice
    from spotweave.errors import Refusal
    from spotweave.io import write_json
    from spotweave.raw import raw_file
    from spotweave.slide.pyramid import read_header

    if args.array_pitch_x_um is None:
        raise Refusal(
            "the sample is read, but bins and cells cannot be placed on the H&E yet; its counts are in expression.h5ad"
        )
    table = pd.read_csv(args.spots)
    image = raw_file(args.manifest, "image")
    header = read_header(image)
    size_px = (header.width_px, header.height_px)
    pitch_um = (args.array_pitch_x_um, args.array_pitch_y_um)
    spots = lattice.Spots(
        array=table[["array_col", "array_row"]].to_numpy(),
        xy_px=table[["x_px", "y_px"]].to_numpy(dtype=float) * args.spots_to_image_scale,
        in_tissue=table["in_tissue"].to_numpy() == 1,
    )
    fit = lattice.align(spots, pitch_um, lattice.Picture(image.name, size_px), json.loads(args.limits))
    measured = lattice.describe(fit)
    stated = args.stated_pixel_size_um
    if stated is not None:
        measured["pixel_size_stated_um"] = stated
        measured["pixel_size_stated_deviation"] = round(stated / fit.pixel_size_um - 1, 4)
    measured["pixel_size_embedded_um"] = header.pixel_size_um
    measured["spot_pitch_um"] = round(lattice.nearest_neighbour_um(spots.array, pitch_um), 2)
    measured["spots_outside_picture"] = int(lattice.outside_picture(spots.xy_px, size_px).sum())
    frame = {
        "from": "array, um, x right along the columns, y down along the rows, origin at array position (0, 0)",
        "to": "slide, px of the full-resolution picture, x right, y down, origin at its top-left corner",
        "matrix": fit.matrix.tolist(),
        "array_pitch_um": pitch_um,
        "spot_diameter_um": args.spot_diameter_um,
        "spots_to_image_scale": args.spots_to_image_scale,
        "image_width_px": size_px[0],
        "image_height_px": size_px[1],
    }
    write_json(args.alignment, {**frame, **measured})
    return measured


if __name__ == "__main__":
    stage.run(work)
