"""Correlate size, shape and density of one sample's nuclei with its gene expression."""

import json

from _stage import Stage

stage = Stage(
    "explore_biomarkers",
    __doc__,
    inputs=["st", "spots", "cells*", "nuclei*", "matches*"],
    outputs=["correlations", "matrix", "heatmaps", "scatter"],
)
stage.option("--sample", required=True)
stage.option("--settings", required=True, type=json.loads, help="JSON of the configuration's biomarkers block")
stage.option("--seed", type=int, default=0)


def work(args):
    from spotweave.biomarkers.sample import Outputs, explore
    from spotweave.biomarkers.settings import Settings
    from spotweave.biomarkers.units import Files

    files = Files(args.st, args.spots, *((*given, None)[0] for given in (args.cells, args.nuclei, args.matches)))
    outputs = Outputs(args.correlations, args.matrix, args.heatmaps, args.scatter)
    return explore(args.sample, files, Settings(**args.settings), args.seed, outputs)


if __name__ == "__main__":
    stage.run(work)
