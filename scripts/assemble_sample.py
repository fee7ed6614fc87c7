"""Bring one sample's counts, places and tissue together in the released layout, with its plots."""

from _stage import Stage

stage = Stage(
    "assemble_sample",
    __doc__,
    inputs=["expression", "alignment", "units", "slide", "tissue", "pool*"],
    outputs=["st", "spatial_plot", "pixel_size_plot"],
)
stage.option("--sample", required=True)
stage.option("--pooling", required=True, help="name of the way of pooling (a module of spotweave.pooling)")
stage.option("--spots-min", type=int, required=True, help="fewer in-tissue spots with counts are refused")


def work(args):
    from spotweave.dataset.sample import Parts, Pictures, assemble

    pool = next(iter(args.pool), None)
    parts = Parts(args.expression, args.alignment, args.units, args.slide, args.tissue, pool)
    pictures = Pictures(args.spatial_plot, args.pixel_size_plot)
    return assemble(args.sample, parts, args.pooling, args.spots_min, args.st, pictures)


if __name__ == "__main__":
    stage.run(work)
