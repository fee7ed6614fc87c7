"""Register the instrument's picture of a section with its H&E, and judge how well."""

from _stage import Stage

stage = Stage(
    "register_sample", __doc__, inputs=["manifest"], outputs=["registration", "field", "overlay", "checkerboard"]
)
stage.option("--alignment", help="a map that the row states: identity")
stage.option("--stated-pixel-size-um", type=float, help="what the source states of the H&E, if anything")
stage.option("--limits", required=True, help="JSON of the configuration's limits that the judge uses")
stage.option("--settings", default="{}", help="JSON of the configuration's registration block")


def work(args):
    import json

    from spotweave.register.pair import Settings
    from spotweave.register.sample import Outputs, register

    outputs = Outputs(args.registration, args.field, args.overlay, args.checkerboard)
    settings = Settings(**json.loads(args.settings))
    limits = json.loads(args.limits)
    return register(args.manifest, args.alignment, args.stated_pixel_size_um, settings, limits, outputs)


if __name__ == "__main__":
    stage.run(work)
