"""Fine-tune an encoder on the training samples of one fold: patches against expression."""

import json
import os
from pathlib import Path

from _stage import Stage

stage = Stage("finetune_encoder", __doc__, inputs=["splits", "patches@", "expression@"], outputs=["weights", "history"])
stage.option("--fold", type=int, required=True)
stage.option("--recipe", required=True, type=json.loads, help="JSON: the recipe's row")
stage.option("--base", required=True, type=json.loads, help="JSON: the row of the base encoder")
stage.option("--slides", help="path of a slide, with {sample} in it; for patches without pictures")
stage.option("--weights-folder", type=Path, help="where a relative path of the base's weights lies; the working folder")
stage.option("--threads", type=int, default=1, help="results are equal to the last bit for equal numbers of threads")
stage.option(
    "--scratch", type=Path, help="a folder in which a job that is killed leaves what the next one goes on from"
)
stage.option("--processes", type=int, default=1, help="that train together, on GPUs one each")
stage.option("--seed", type=int, default=0)
stage.option("--device", default="auto", help="auto, cpu or cuda")


def work(args):
    from spotweave.networks.threads import limit_threads

    limit_threads(args.threads)
    # What cuBLAS needs to be deterministic; read when the GPU is first used.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    from spotweave.finetune import Job, samples_at
    from spotweave.io import read_json
    from spotweave.networks.spec import EncoderSpec
    from spotweave.recipes import RECIPES

    return RECIPES.load(args.recipe["kind"]).train(
        read_json(args.splits),
        args.fold,
        samples_at(args.samples, args.patches, args.expression, args.slides),
        args.recipe,
        EncoderSpec.from_row(args.base),
        Job(
            args.weights,
            args.history,
            args.weights_folder,
            args.seed,
            args.device,
            args.scratch,
            args.code,
            args.processes,
        ),
    )


if __name__ == "__main__":
    stage.run(work)
