"""Match the nuclei of one sample's H&E with the cells that its instrument found."""

from _stage import Stage

stage = Stage("match_cells", __doc__, inputs=["nuclei", "cells", "alignment"], outputs=["matches"])
stage.option("--limit-um", type=float, default=5.0, help="how far apart a pair may lie (default: %(default)s)")


def work(args):
    from spotweave.nuclei.matching import match_cells

    return match_cells(args.nuclei, args.cells, args.alignment, args.matches, args.limit_um)


if __name__ == "__main__":
    stage.run(work)
