"""The folds of one task of HEST-Benchmark's release, as its csv files have them."""

from pathlib import Path

from _stage import Stage

stage = Stage("split_released", __doc__, inputs=["records@"], outputs=["splits"], record=False)
stage.option("--root", required=True, type=Path, help="the folder that holds IDC, PRAD and others")
stage.option("--name", required=True, help="the task's folder in it")
stage.option("--task", required=True, help="what the task is called here")


def work(args):
    from spotweave.io import write_json
    from spotweave.released.taking import split_task

    records = dict(zip(args.samples, args.records, strict=True))
    write_json(args.splits, split_task(args.root, args.name, args.task, records))


if __name__ == "__main__":
    stage.run(work)
