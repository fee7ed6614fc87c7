"""Put together what each method's folds cost: time, memory, sizes."""

from pathlib import Path

from _stage import Stage

stage = Stage(
    "tabulate_efficiency", __doc__, inputs=["predictions*"], outputs=["efficiency", "efficiency_ranks"], record=False
)
stage.option("--timings", type=Path, required=True, help="folder of Snakemake's benchmark files of fit_method")
stage.option("--models", type=Path, required=True, help="folder of trained networks")


def work(args):
    from spotweave.benchmark import efficiency
    from spotweave.io import write_text

    costs = efficiency.table(args.predictions, args.timings, args.models)
    write_text(args.efficiency, costs.to_csv(index=False, lineterminator="\n"))
    write_text(args.efficiency_ranks, efficiency.ranks(costs).to_csv(index=False, lineterminator="\n"))


if __name__ == "__main__":
    stage.run(work)
