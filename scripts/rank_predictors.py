"""Put the scores of all predictors side by side: one long table, comparisons, ranks, a leaderboard and a picture."""

import json

from _stage import Stage

stage = Stage(
    "rank_predictors",
    __doc__,
    inputs=["parts*", "fold_parts*", "spread_parts*", "splits*"],
    outputs=["scores", "folds", "comparisons", "ranks", "categories", "leaderboard", "page", "plot"],
    record=False,
)
stage.option(
    "--metrics", required=True, nargs="+", action="extend", help="what the leaderboard shows (modules of metrics/)"
)
stage.option("--cohorts", required=True, type=json.loads, help="the cohort of each sample of the tasks, as JSON")
stage.option("--seen", required=True, type=json.loads, help="cohorts that weights have seen, by encoder, as JSON")
stage.option("--genes", required=True, type=json.loads, help="which genes tasks ask for, by name, as JSON")
stage.option("--ranking", required=True, choices=["donors", "published"], help="how categories are ranked")
stage.option("--patch-um", required=True, type=float, help="side of a patch")
stage.option("--notes", required=True, type=json.loads, help="remarks on tasks by name, as JSON")


def work(args):
    from spotweave.benchmark import boards, figure, leaderboard
    from spotweave.benchmark.leaks import Sight
    from spotweave.report.leaderboard import leaderboard_page

    boards.gather(args.parts, args.fold_parts, args.scores, args.folds)
    sight = Sight(args.cohorts, args.seen, args.patch_um, args.genes)
    found = boards.ranked(
        args.scores, args.folds, args.spread_parts, args.splits, args.metrics, args.notes, sight, args.ranking
    )
    found.write(args.leaderboard, args.comparisons, args.ranks, args.categories)
    args.page.write_text(leaderboard_page(found.leaderboard, leaderboard.RANKED_BY), encoding="utf-8")
    figure.draw(found.leaderboard, found.scores, found.notes, args.plot)


if __name__ == "__main__":
    stage.run(work)
