"""Split the accepted samples of one task into folds that no donor crosses."""

import json

from _stage import Stage

stage = Stage("make_splits", __doc__, inputs=["records@", "fingerprints@"], outputs=["splits"], record=False)
stage.option("--donors", nargs="+", action="extend", required=True, help="the donor of each sample, in their order")
stage.option("--known", required=True, type=json.loads, help="rows of resources/identities.csv, as JSON")
stage.option("--task", required=True, type=json.loads, help="the task's row of the tasks table, as JSON")


def work(args):
    from spotweave.benchmark.splits import Member, make_splits
    from spotweave.benchmark.tasks import Task
    from spotweave.identity import audit
    from spotweave.io import is_refused, read_json, write_json

    task = Task.from_row(args.task)
    donors = dict(zip(args.samples, args.donors, strict=True))
    prints = {
        sample: read_json(path)
        for sample, path in zip(args.samples, args.fingerprints, strict=True)
        if not is_refused(path)
    }
    findings = [*audit.find(prints), *audit.known(args.known, donors)]
    # Copies and relatives under two donors' names would be trained on and tested on: they count as one donor.
    group = audit.donor_groups(donors, findings)
    members = [
        Member.from_record(sample, group[donors[sample]], read_json(path))
        for sample, path in zip(args.samples, args.records, strict=True)
    ]
    splits = make_splits(task.name, task.n_folds, members)
    joined = [one for one in audit.table(audit.joining(findings), donors) if one["leaks"] == "yes"]
    write_json(args.splits, {**splits, "joined_donors": joined})


if __name__ == "__main__":
    stage.run(work)
