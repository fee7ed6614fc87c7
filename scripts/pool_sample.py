"""Pool a sample's transcripts or bins into the spots of every grid, and account for every count."""

from _stage import Stage

stage = Stage("pool_sample", __doc__, inputs=["expression", "alignment", "units", "transcripts*"], outputs=["pools+"])
stage.option("--pooling", required=True, help="name of the way of pooling (a module of spotweave.pooling)")
stage.option("--grids", nargs="+", required=True, help="names of grids, one for each file of --pools, in their order")
stage.option("--min-qv", type=float, required=True, help="transcripts of a lower quality are in no gene")


def work(args):
    from spotweave.pooling import Options, Parts, write_pools

    parts = Parts(args.expression, args.alignment, args.units, next(iter(args.transcripts), None))
    return write_pools(args.pooling, parts, args.grids, Options(args.min_qv), args.pools)


if __name__ == "__main__":
    stage.run(work)
