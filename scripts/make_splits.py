"""Split the accepted samples of one task into folds."""

import json

from _stage import Stage

stage = Stage(
    "make_splits",
    __doc__,
    inputs=["records@", "fingerprints@", "expression@", "alignments@"],
    outputs=["splits"],
    record=False,
)
stage.option("--donors", nargs="+", action="extend", required=True, help="the donor of each sample, in their order")
stage.option("--cohorts", nargs="+", action="extend", required=True, help="the cohort of each sample, in their order")
stage.option("--known", required=True, type=json.loads, help="rows of resources/identities.csv, as JSON")
stage.option("--task", required=True, type=json.loads, help="the task's row of the tasks table, as JSON")


def work(args):
    from spotweave.benchmark.donors import SampleFiles, split_task
    from spotweave.io import write_json

    columns = (args.donors, args.cohorts, args.records, args.fingerprints, args.expression, args.alignments)
    samples = [SampleFiles(*one) for one in zip(args.samples, *columns, strict=True)]
    write_json(args.splits, split_task(args.task, samples, args.known))


if __name__ == "__main__":
    stage.run(work)
