"""Find the nuclei of one slide with one model of the nuclei table."""

import json
from pathlib import Path

from _stage import Stage

stage = Stage(
    "segment_nuclei",
    __doc__,
    inputs=["slide", "tissue", "alignment"],
    outputs=["nuclei", "geojson", "overlay"],
)
stage.option("--spec", required=True, type=json.loads, help="JSON: the model's row of the nuclei table")
stage.option("--weights-folder", type=Path, help="where a relative path of a weights file lies; the working folder")
stage.option("--threads", type=int, default=1, help="processes; the result does not depend on it")
stage.option("--seed", type=int, default=0)
stage.option("--device", default="auto", help="auto, cpu or cuda")


def work(args):
    from spotweave.networks.threads import limit_threads

    limit_threads(args.threads)
    from spotweave.nuclei.segment import Outputs, segment_sample

    return segment_sample(
        args.slide,
        args.tissue,
        args.alignment,
        Outputs(args.nuclei, args.geojson, args.overlay),
        args.spec,
        folder=args.weights_folder,
        device=args.device,
        seed=args.seed,
        threads=args.threads,
    )


if __name__ == "__main__":
    stage.run(work)
