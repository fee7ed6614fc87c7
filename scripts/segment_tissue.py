"""Find the tissue of one section on its deposited picture and judge how well it agrees with the spots."""

from _stage import Stage

stage = Stage("segment_tissue", __doc__, inputs=["manifest", "alignment", "spots"], outputs=["tissue", "overlay"])
stage.option("--limits", required=True, help="JSON of the configuration's limits")
stage.option("--method", required=True, help="a module of spotweave/tissue/methods")
stage.option("--min-hole-um2", type=float, default=50_000.0, help="smaller holes are filled (default: %(default)s)")
stage.option("--simplify-um", type=float, default=4.0, help="how far outlines may be moved (default: %(default)s)")


def work(args):
    import json

    import pandas as pd

    from spotweave.dataset.spots import slide_positions
    from spotweave.deposits.raw import raw_file
    from spotweave.io import read_json
    from spotweave.tissue import overview, polygons
    from spotweave.tissue.section import find_tissue

    alignment = read_json(args.alignment)
    spots = pd.read_csv(args.spots)
    found = find_tissue(
        raw_file(args.manifest, "image"),
        float(alignment["pixel_size_um"]),
        slide_positions(spots, alignment),
        spots["in_tissue"].to_numpy(),
        alignment["spot_diameter_um"],
        json.loads(args.limits),
        method=args.method,
        min_hole_um2=args.min_hole_um2,
        simplify_um=args.simplify_um,
    )
    polygons.write_geojson(args.tissue, found.outlines, alignment["pixel_size_um"])
    overview.write_overlay(args.overlay, found.rgb, found.outlines, found.scale)
    return found.measures


if __name__ == "__main__":
    stage.run(work)
