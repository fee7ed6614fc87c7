"""Put the scores of all predictors side by side: one long table, a leaderboard and a picture."""

import json

from _stage import Stage

stage = Stage(
    "rank_predictors",
    __doc__,
    inputs=["parts*", "fold_parts*"],
    outputs=["scores", "folds", "leaderboard", "plot"],
    record=False,
)
stage.option(
    "--metrics", required=True, nargs="+", action="extend", help="what the leaderboard shows (modules of metrics/)"
)
stage.option("--notes", required=True, type=json.loads, help="remarks on tasks by name, as JSON")


def work(args):
    from spotweave.benchmark import figure, folds_table, leaderboard, long_table

    long_table.gather(args.parts, args.scores)
    folds_table.gather(args.fold_parts, args.folds)
    scores, folds = long_table.read([args.scores]), folds_table.read([args.folds])
    table = leaderboard.rank(scores, folds, args.metrics, args.notes)
    leaderboard.write(table, args.leaderboard)
    figure.draw(table, scores, args.notes, args.plot)


if __name__ == "__main__":
    stage.run(work)
