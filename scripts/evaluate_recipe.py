"""What fine-tuning changed: the base encoder's scores and the tuned one's, side by side, per protocol and probe."""

from _stage import Stage

stage = Stage("evaluate_recipe", __doc__, inputs=["before+", "after+"], outputs=["metrics"], record=False)
stage.option("--recipe", required=True)


def work(args):
    from spotweave.benchmark.comparison import compare
    from spotweave.benchmark.leaderboard import read_scores
    from spotweave.io import write_json

    write_json(args.metrics, {"recipe": args.recipe, **compare(read_scores(args.before), read_scores(args.after))})


if __name__ == "__main__":
    stage.run(work)
