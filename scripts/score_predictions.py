"""Score every prediction of a task under one protocol by the chosen metrics."""

from _stage import Stage

stage = Stage(
    "score_predictions",
    __doc__,
    inputs=["splits", "targets", "predictions*"],
    outputs=["scores", "folds"],
    record=False,
)
stage.option("--protocol", required=True, help="how predictions are scored (a module of protocols/)")
stage.option("--metrics", required=True, nargs="+", action="extend", help="what is measured (modules of metrics/)")
stage.option("--seed", required=True, type=int, help="of permutations")


def work(args):
    from spotweave.benchmark import folds_table
    from spotweave.benchmark.predictions import place_of
    from spotweave.benchmark.scoring import Scoring, score_predictions
    from spotweave.benchmark.targets import Targets
    from spotweave.io import read_json

    scoring = Scoring(read_json(args.splits), args.protocol, args.metrics, args.seed)
    predictions = {place_of(path): path for path in args.predictions}
    with Targets(args.targets) as targets:
        folds_table.write(args.folds, score_predictions(scoring, targets, predictions, args.scores))


if __name__ == "__main__":
    stage.run(work)
