"""Put the scores of all predictors side by side: one long table, comparisons, ranks, a leaderboard and a picture."""

import json

from _stage import Stage

stage = Stage(
    "rank_predictors",
    __doc__,
    inputs=["parts*", "fold_parts*", "spread_parts*", "splits*"],
    outputs=["scores", "folds", "comparisons", "ranks", "leaderboard", "page", "plot"],
    record=False,
)
stage.option(
    "--metrics", required=True, nargs="+", action="extend", help="what the leaderboard shows (modules of metrics/)"
)
stage.option("--notes", required=True, type=json.loads, help="remarks on tasks by name, as JSON")


def work(args):
    from spotweave.benchmark import figure, folds_table, leaderboard, long_table, pairs, ranks, spread, ties
    from spotweave.io import read_json
    from spotweave.report.leaderboard import leaderboard_page

    long_table.gather(args.parts, args.scores)
    folds_table.gather(args.fold_parts, args.folds)
    scores, folds = long_table.read([args.scores]), folds_table.read([args.folds])
    errors = spread.read(args.spread_parts)
    splits = {content["task"]: content for content in map(read_json, args.splits)}
    comparisons = pairs.compare(scores, folds, splits, errors)
    leaderboard.write(comparisons, args.comparisons)
    table = ties.with_ties(leaderboard.rank(scores, folds, args.metrics, args.notes), comparisons, errors)
    leaderboard.write(table, args.leaderboard)
    leaderboard.write(ranks.rank_all(table, scores, folds, splits, args.metrics), args.ranks)
    args.page.write_text(leaderboard_page(table, leaderboard.RANKED_BY), encoding="utf-8")
    figure.draw(table, scores, args.notes, args.plot)


if __name__ == "__main__":
    stage.run(work)
