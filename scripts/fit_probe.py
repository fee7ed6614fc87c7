"""Fit one probe on one encoder's embeddings in one fold of a task, under one protocol, and keep its predictions."""

from _stage import Stage

stage = Stage(
    "fit_probe",
    __doc__,
    inputs=["splits", "targets", "embeddings@", "records@"],
    outputs=["prediction"],
    record=False,
)
stage.option("--fold", required=True, type=int)
stage.option("--protocol", required=True, help="what the probe has to keep to (a module of protocols/)")
stage.option("--probe", required=True, help="what is fitted (a module of probes/)")
stage.option("--encoder", required=True, help="name of the encoder the embeddings come from")
stage.option("--seed", required=True, type=int, help="of PCA and whatever the probe draws")


def work(args):
    from spotweave.benchmark.fitting import Cell, predict_fold
    from spotweave.benchmark.predictions import write_prediction
    from spotweave.benchmark.targets import Targets
    from spotweave.io import read_json

    records = {sample: read_json(path) for sample, path in zip(args.samples, args.records, strict=True)}
    refusals = {sample: record["reason"] for sample, record in records.items() if record["status"] == "refused"}
    embeddings = dict(zip(args.samples, args.embeddings, strict=True))
    cell = Cell(args.protocol, args.encoder, args.probe, args.seed)
    with Targets(args.targets) as targets:
        prediction = predict_fold(cell, args.fold, read_json(args.splits), targets, embeddings, refusals)
    write_prediction(args.prediction, prediction)


if __name__ == "__main__":
    stage.run(work)
