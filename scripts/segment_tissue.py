"""Find the tissue of one section, and what lies on it, on its deposited picture; hold it against the spots."""

from _stage import Stage

INPUTS = ["manifest", "alignment", "units"]
stage = Stage("segment_tissue", __doc__, inputs=INPUTS, outputs=["tissue", "marks", "overlay"])
stage.option("--limits", required=True, help="JSON of the configuration's limits")
stage.option("--method", required=True, help="a module of spotweave/tissue/methods")
stage.option("--weights", default="none", help="of a trained method: hub or file (default: %(default)s)")
stage.option("--source", default="", help="owner/repository on the hub, or the path of the file")
stage.option("--revision", default="", help="of the hub's repository")
stage.option("--sha256", default="", help="that the weights are held against")
stage.option("--threads", type=int, default=1)
stage.option("--min-hole-um2", type=float, default=50_000.0, help="smaller holes are filled (default: %(default)s)")
stage.option("--simplify-um", type=float, default=4.0, help="how far outlines may be moved (default: %(default)s)")


def work(args):
    from spotweave.networks.threads import limit_threads

    limit_threads(args.threads)
    import json

    from spotweave.tissue.methods import NO_WEIGHTS
    from spotweave.tissue.sample import Made, segment

    return segment(
        args.manifest,
        args.alignment,
        args.units,
        json.loads(args.limits),
        Made(args.tissue, args.marks, args.overlay),
        method=args.method,
        weights={name: getattr(args, name) for name in NO_WEIGHTS},
        min_hole_um2=args.min_hole_um2,
        simplify_um=args.simplify_um,
    )


if __name__ == "__main__":
    stage.run(work)
