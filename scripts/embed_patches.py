"""Embed one sample's patches with one encoder, or with the encoders a recipe trained, fold by fold."""

import json
from pathlib import Path

from _stage import Stage

stage = Stage("embed_patches", __doc__, inputs=["patches"], outputs=["embeddings"])
stage.option("--sample", required=True, help="sample id")
stage.option("--encoder", required=True, help="name of the encoder or recipe")
stage.option(
    "--spec",
    required=True,
    type=json.loads,
    help="JSON: its row of the encoder table; for a recipe the row of its base, with the builder finetuned",
)
stage.option(
    "--folds",
    type=Path,
    nargs="*",
    action="extend",
    default=[],
    help="a recipe's weight files; empty ones (no fold) are skipped",
)
stage.option("--weights-folder", type=Path, help="where a relative path of a weights file lies; the working folder")
stage.option("--batch", type=int, default=64, help="patches at a time")
stage.option("--threads", type=int, default=1)
stage.option("--seed", type=int, default=0, help="of random weights")
stage.option("--device", default="auto", help="auto, cpu or cuda")


def work(args):
    from spotweave import encoders

    encoders.limit_threads(args.threads)
    spec = encoders.EncoderSpec.from_row(args.spec)
    module = encoders.load(spec.builder)

    def build(spec):
        return module.build(spec, folder=args.weights_folder, seed=args.seed, device=args.device)

    if spec.builder == "finetuned":
        named = {f"fold{fold}/embeddings": build(spec.at(path)) for fold, path in module.fold_files(args.folds)}
    else:
        named = {"embeddings": build(spec)}
    patches = encoders.write_embeddings(
        args.embeddings, args.patches, named, sample=args.sample, encoder=args.encoder, batch=args.batch
    )
    return {"patches": patches, "dims": {name: unit.dim for name, unit in named.items()}}


if __name__ == "__main__":
    stage.run(work)
