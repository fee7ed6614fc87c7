"""Hold the tasks of HEST-Benchmark's release against published numbers, and list what was measured in a ledger."""

import json
from pathlib import Path

from _stage import Stage

stage = Stage(
    "compare_released",
    __doc__,
    inputs=["scores", "folds", "splits*"],
    outputs=["published", "tasks_table"],
    record=False,
)
stage.option("--tasks", nargs="+", action="extend", required=True, help="the task of each splits.json, in their order")
stage.option("--names", required=True, type=json.loads, help="folder in the release of each task, as JSON")
stage.option("--left-out", required=True, type=json.loads, help="why tasks were left out before the run, as JSON")
stage.option("--encoders", required=True, type=json.loads, help="weights and code of each encoder, as JSON")
stage.option("--fits", required=True, type=json.loads, help="code of each probe under each protocol, as JSON")
stage.option("--seed", required=True, type=int, help="of PCA and of random weights")
stage.option("--ledger", required=True, type=Path, help="lines of JSON, only ever added to")


def work(args):
    from spotweave.released.comparing import Run, compare_run

    run = Run(args.names, args.left_out, args.encoders, args.fits, args.seed)
    splits = dict(zip(args.tasks, args.splits, strict=True))
    compare_run(args.scores, args.folds, splits, run, args.published, args.tasks_table, args.ledger)


if __name__ == "__main__":
    stage.run(work)
