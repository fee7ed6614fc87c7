"""Put a sample's units onto its slide: place them, measure the pixel size, refuse what does not fit."""

from _stage import Stage

stage = Stage(
    "align_array",
    __doc__,
    inputs=["manifest", "spots", "reading", "fiducials*", "registration*", "field*"],
    outputs=["alignment", "units"],
)
stage.option("--placing", required=True, help="name of the way of placing (a module of spotweave.placing)")
stage.option("--array-pitch-x-um", type=float, help="by default that of the capture area")
stage.option("--array-pitch-y-um", type=float)
stage.option("--spot-diameter-um", type=float)
stage.option("--spots-to-image-scale", type=float, default=1.0)
stage.option("--stated-pixel-size-um", type=float, help="what the source states, if anything")
stage.option("--limits", required=True, help="JSON of the configuration's limits that the way of placing uses")


def work(args):
    import json

    from spotweave import placing

    pitch_um = (args.array_pitch_x_um, args.array_pitch_y_um)
    row = placing.Options(pitch_um, args.spot_diameter_um, args.spots_to_image_scale, args.stated_pixel_size_um)
    registered = next(zip(args.registration, args.field, strict=True), None)
    files = (args.manifest, args.spots, args.reading, next(iter(args.fiducials), None), registered)
    placement = placing.place_sample(args.placing, placing.Deposit.read(*files, row, json.loads(args.limits)))
    placement.write(args.alignment, args.units)
    return placement.measures


if __name__ == "__main__":
    stage.run(work)
