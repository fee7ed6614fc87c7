"""Choose the genes of every fold of a task under one protocol, and keep their counts."""

import json

from _stage import Stage

stage = Stage("choose_genes", __doc__, inputs=["splits", "expression@"], outputs=["targets"], record=False)
stage.option("--task", required=True, type=json.loads, help="the task's row of the tasks table, as JSON")
stage.option("--listed", action="append", default=[], help="a gene of the task's list; once for each")
stage.option("--protocol", required=True, help="how genes are chosen (a module of protocols/)")


def work(args):
    from spotweave import protocols
    from spotweave.benchmark.choosing import choose_genes
    from spotweave.benchmark.tasks import Task
    from spotweave.io import read_json

    choose_genes(
        Task.from_row(args.task),
        protocols.load(args.protocol),
        read_json(args.splits),
        dict(zip(args.samples, args.expression, strict=True)),
        args.targets,
        args.listed,
    )


if __name__ == "__main__":
    stage.run(work)
