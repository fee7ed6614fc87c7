"""What fine-tuning changed: the base encoder's scores and the tuned one's, side by side, per protocol and probe."""

from _stage import Stage

stage = Stage("evaluate_recipe", __doc__, inputs=["scores+", "folds+"], outputs=["metrics"], record=False)
stage.option("--recipe", required=True)
stage.option("--base", required=True, help="name of the encoder the recipe starts from")
stage.option("--stand-ins", nargs="*", default=[], help="what stands in for parts of what was published, to be said")


def work(args):
    from spotweave.benchmark import folds_table, long_table
    from spotweave.benchmark.comparison import compare
    from spotweave.io import write_json

    compared = compare(long_table.read(args.scores), folds_table.read(args.folds), args.base, args.recipe)
    said = {"stand_ins": args.stand_ins} if args.stand_ins else {}
    write_json(args.metrics, {"recipe": args.recipe, **said, **compared})


if __name__ == "__main__":
    stage.run(work)
