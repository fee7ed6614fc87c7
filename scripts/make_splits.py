"""Split the accepted samples of one task into folds that no donor crosses."""

import json

from _stage import Stage

stage = Stage("make_splits", __doc__, inputs=["records@", "fingerprints@"], outputs=["splits"], record=False)
stage.option("--donors", nargs="+", action="extend", required=True, help="the donor of each sample, in their order")
stage.option("--known", required=True, type=json.loads, help="rows of resources/identities.csv, as JSON")
stage.option("--task", required=True, type=json.loads, help="the task's row of the tasks table, as JSON")


def work(args):
    from spotweave.benchmark.donors import split_task
    from spotweave.io import is_refused, read_json, write_json

    donors = dict(zip(args.samples, args.donors, strict=True))
    paths = zip(args.samples, args.fingerprints, strict=True)
    prints = {sample: read_json(path) for sample, path in paths if not is_refused(path)}
    records = dict(zip(args.samples, map(read_json, args.records), strict=True))
    write_json(args.splits, split_task(args.task, donors, prints, records, args.known))


if __name__ == "__main__":
    stage.run(work)
