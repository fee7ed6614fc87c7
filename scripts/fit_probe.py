"""Fit one probe on one encoder's embeddings and score it in every fold of a task, under one protocol."""

import json

from _stage import Stage

stage = Stage(
    "fit_probe",
    __doc__,
    inputs=["splits", "expression@", "embeddings@", "records@"],
    outputs=["scores"],
    record=False,
)
stage.option("--task", required=True, type=json.loads, help="the task's row of the tasks table, as JSON")
stage.option("--protocol", required=True, help="how the task is scored (a module of protocols/)")
stage.option("--probe", required=True, help="what is fitted (a module of probes/)")
stage.option("--encoder", required=True, help="name of the encoder the embeddings come from")
stage.option("--seed", required=True, type=int, help="of PCA and permutations")


def work(args):
    from spotweave.benchmark.evaluate import Cell, evaluate, write_outcomes
    from spotweave.benchmark.tasks import Task
    from spotweave.io import read_json

    cell = Cell(Task.from_row(args.task), args.protocol, args.encoder, args.probe, args.seed)
    expression = dict(zip(args.samples, args.expression, strict=True))
    embeddings = dict(zip(args.samples, args.embeddings, strict=True))
    records = {sample: read_json(path) for sample, path in zip(args.samples, args.records, strict=True)}
    refusals = {sample: record["reason"] for sample, record in records.items() if record["status"] == "refused"}
    outcomes = evaluate(cell, read_json(args.splits), expression, embeddings, refusals)
    stage.also.extend(write_outcomes(outcomes, args.scores, args.scores.parent))


if __name__ == "__main__":
    stage.run(work)
