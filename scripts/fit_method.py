"""Fit one method on the training spots of one fold of a task, under one protocol, and keep its predictions."""

import json
from pathlib import Path

from _stage import Stage

stage = Stage(
    "fit_method",
    __doc__,
    inputs=["splits", "targets"],
    outputs=["prediction"],
    record=False,
)
stage.option("--samples", nargs="+", action="extend", required=True, help="ids of the task's samples")
stage.option("--fold", required=True, type=int)
stage.option("--protocol", required=True, help="what the method has to keep to (a module of protocols/)")
stage.option("--predictor", required=True, type=json.loads, help="JSON: the method's row of the table of methods")
stage.option("--patches", help="path of a sample's patches, with {sample} in it; for kinds that need them")
stage.option("--slides", help="path of a slide, with {sample} in it; for patches without pictures")
stage.option("--embeddings", help="path of a sample's embeddings, with {sample} in it; for methods over an encoder")
stage.option("--records", help="path of the record of these embeddings, with {sample} in it")
stage.option(
    "--model", type=Path, help="a folder to keep what was trained in, and checkpoints while it is; for networks"
)
stage.option("--seed", required=True, type=int, help="of whatever the method draws")
stage.option("--threads", type=int, default=1, help="results are equal to the last bit for equal numbers of threads")


def work(args):
    from spotweave.benchmark.method_fitting import predict_fold
    from spotweave.benchmark.method_inputs import Inputs
    from spotweave.benchmark.predictions import write_prediction
    from spotweave.benchmark.targets import Targets
    from spotweave.io import read_json
    from spotweave.methods import Job

    given = Inputs.at(args.samples, args.patches, args.slides, args.embeddings, args.records)
    job = Job.beside(args.model, args.seed, args.threads)
    with Targets(args.targets) as targets:
        prediction = predict_fold(
            args.predictor, args.protocol, args.fold, read_json(args.splits), targets, given, job, args.model
        )
    write_prediction(args.prediction, prediction)


if __name__ == "__main__":
    stage.run(work)
