"""Draw how predictors compare in one task: ranks, spread of scores, genes on a section, clusters."""

import json
from pathlib import Path

from _stage import Stage

stage = Stage(
    "draw_methods",
    __doc__,
    inputs=["ranks", "scores", "splits", "targets", "predictions*"],
    outputs=["ranking", "violins", "spatial", "clusters", "clusters_table"],
    record=False,
)
stage.option("--protocol", required=True, help="whose scale was predicted (a module of protocols/)")
stage.option("--metrics", required=True, nargs="+", action="extend", help="whose spread is drawn (modules of metrics/)")
stage.option("--genes", nargs="*", action="extend", default=[], help="drawn on a section; left out, the best predicted")
stage.option("--labels", type=json.loads, default={}, help="JSON: sample -> CSV of spots and labels")
stage.option("--seed", required=True, type=int, help="of the clusters")


def work(args):
    from spotweave.benchmark.figures.task import Drawn, Files, draw_task

    labels = {sample: Path(path) for sample, path in args.labels.items()}
    files = Files(args.ranks, args.scores, args.splits, args.targets, args.predictions, labels)
    drawn = Drawn(args.ranking, args.violins, args.spatial, args.clusters, args.clusters_table)
    draw_task(files, args.protocol, args.metrics, args.genes, args.seed, drawn)


if __name__ == "__main__":
    stage.run(work)
