"""Score every prediction of a task under one protocol by the chosen metrics."""

from _stage import Stage

stage = Stage(
    "score_predictions",
    __doc__,
    inputs=["splits", "targets", "predictions*", "alignments@"],
    outputs=["scores", "folds", "spread"],
    record=False,
)
stage.option("--protocol", required=True, help="how predictions are scored (a module of protocols/)")
stage.option("--metrics", required=True, nargs="+", action="extend", help="what is measured (modules of metrics/)")
stage.option("--seed", required=True, type=int, help="of permutations and of blocks drawn again")
stage.option("--block-um", required=True, type=float, help="side of the blocks of tissue that are drawn again")


def work(args):
    from spotweave.benchmark import folds_table, spread
    from spotweave.benchmark.predictions import place_of
    from spotweave.benchmark.scoring import Scoring, score_predictions
    from spotweave.benchmark.targets import Targets
    from spotweave.folds import samples_of
    from spotweave.io import read_json

    scoring = Scoring(read_json(args.splits), args.protocol, args.metrics, args.seed, args.block_um)
    predictions = {place_of(path): path for path in args.predictions}
    alignments = dict(zip(args.samples, args.alignments, strict=True))
    um_per_px = {sample: read_json(alignments[sample])["pixel_size_um"] for sample in samples_of(scoring.splits)}
    with Targets(args.targets) as targets:
        folds, errors = score_predictions(scoring, targets, predictions, um_per_px, args.scores)
    folds_table.write(args.folds, folds)
    spread.write(args.spread, errors)


if __name__ == "__main__":
    stage.run(work)
