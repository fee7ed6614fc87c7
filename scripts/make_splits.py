"""Split the accepted samples of one task into folds that no donor crosses."""

import json

from _stage import Stage

stage = Stage("make_splits", __doc__, inputs=["records@"], outputs=["splits"], record=False)
stage.option("--donors", nargs="+", required=True, help="the donor of each sample, in their order")
stage.option("--task", required=True, type=json.loads, help="the task's row of the tasks table, as JSON")


def work(args):
    from spotweave.benchmark.splits import Member, make_splits
    from spotweave.benchmark.tasks import Task
    from spotweave.io import read_json, write_json

    task = Task.from_row(args.task)
    members = [
        Member.from_record(sample, donor, read_json(path))
        for sample, donor, path in zip(args.samples, args.donors, args.records, strict=True)
    ]
    write_json(args.splits, make_splits(task.name, task.n_folds, members))


if __name__ == "__main__":
    stage.run(work)
