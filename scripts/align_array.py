"""Put the spots onto the slide: place them, measure the pixel size, refuse what does not fit."""

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
    from functools import partial

    import pandas as pd

    from spotweave.align.lattice import Picture
    from spotweave.align.sample import Options, align_sample
    from spotweave.deposits.raw import raw_file
    from spotweave.io import read_json, write_json
    from spotweave.pictures.reduced import read_reduced
    from spotweave.slide.pyramid import read_header

    image = raw_file(args.manifest, "image")
    header = read_header(image)
    alignment, measured = align_sample(
        pd.read_csv(args.spots),
        read_json(args.reading)["measures"],
        read_json(args.fiducials[0]) if args.fiducials else None,
        Picture(image.name, (header.width_px, header.height_px), header.pixel_size_um),
        partial(read_reduced, image),
        Options(
            (args.array_pitch_x_um, args.array_pitch_y_um),
            args.spot_diameter_um,
            args.spots_to_image_scale,
            args.stated_pixel_size_um,
        ),
        json.loads(args.limits),
    )
    write_json(args.alignment, alignment)
    return measured


if __name__ == "__main__":
    stage.run(work)
