"""Embed one sample's patches with one encoder, or with the encoders a recipe trained, fold by fold."""

import json
from pathlib import Path

from _stage import Stage

stage = Stage("embed_patches", __doc__, inputs=["patches", "slide*"], outputs=["embeddings"])
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
stage.option(
    "--scratch", type=Path, help="a folder in which a job that is killed leaves what the next one goes on from"
)
stage.option("--batch", type=int, default=64, help="patches at a time")
stage.option("--threads", type=int, default=1)
stage.option("--seed", type=int, default=0, help="of random weights")
stage.option("--device", default="auto", help="auto, cpu or cuda")


def work(args):
    from spotweave.networks.threads import limit_threads

    limit_threads(args.threads)
    from spotweave.embeddings.sample import embed_sample

    return embed_sample(
        args.embeddings,
        args.patches,
        args.spec,
        slide=next(iter(args.slide), None),
        sample=args.sample,
        encoder=args.encoder,
        folds=args.folds,
        folder=args.weights_folder,
        seed=args.seed,
        device=args.device,
        batch=args.batch,
        scratch=args.scratch,
        ahead=args.threads > 1,
        code=args.code,
    )


if __name__ == "__main__":
    stage.run(work)
