"""Find the tissue of one section on its deposited picture and judge how well it agrees with the spots."""

from _stage import Stage

stage = Stage("segment_tissue", __doc__, inputs=["manifest", "alignment", "units"], outputs=["tissue", "overlay"])
stage.option("--limits", required=True, help="JSON of the configuration's limits")
stage.option("--method", required=True, help="a module of spotweave/tissue/methods")
stage.option("--min-hole-um2", type=float, default=50_000.0, help="smaller holes are filled (default: %(default)s)")
stage.option("--simplify-um", type=float, default=4.0, help="how far outlines may be moved (default: %(default)s)")


def work(args):
    import json

    from spotweave.tissue.sample import segment

    files = (args.manifest, args.alignment, args.units)
    settings = {"method": args.method, "min_hole_um2": args.min_hole_um2, "simplify_um": args.simplify_um}
    return segment(*files, json.loads(args.limits), args.tissue, args.overlay, **settings)


if __name__ == "__main__":
    stage.run(work)
