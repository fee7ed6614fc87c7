"""Embed one sample's patches with several encoders in one pass; their own jobs make the files of the rows they find."""

import json

from _stage import Stage

stage = Stage("embed_together", __doc__, inputs=["patches", "slide*"], outputs=[])
stage.option("--sample", required=True, help="sample id")
stage.option(
    "--asked",
    required=True,
    type=json.loads,
    help="JSON, a list: each encoder's row, and of its own job the hash of its code and its scratch folder",
)
stage.option("--most", type=int, required=True, help="encoders in memory at a time")
stage.option("--batch", type=int, default=64, help="patches at a time, as in the encoders' own jobs")
stage.option("--threads", type=int, default=1)
stage.option("--seed", type=int, default=0, help="of random weights")
stage.option("--device", default="auto", help="auto, cpu or cuda")


def work(args):
    from spotweave.networks.threads import limit_threads

    limit_threads(args.threads)
    from spotweave.embeddings.together import Asked, embed_together

    return embed_together(
        [*map(Asked.of, args.asked)],
        args.patches,
        slide=next(iter(args.slide), None),
        sample=args.sample,
        most=args.most,
        seed=args.seed,
        device=args.device,
        batch=args.batch,
        ahead=args.threads > 1,
    )


if __name__ == "__main__":
    stage.run(work)
