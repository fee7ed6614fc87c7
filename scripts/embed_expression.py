"""Embed a sample's expression with what each fold of a recipe trained beside its encoder of patches."""

from pathlib import Path

from _stage import Stage

stage = Stage("embed_expression", __doc__, inputs=["expression"], outputs=["embeddings"])
stage.option("--sample", required=True)
stage.option("--folds", nargs="*", type=Path, default=[], help="the recipe's files of weights, one a fold")
stage.option("--threads", type=int, default=1)


def work(args):
    from spotweave.networks.threads import limit_threads

    limit_threads(args.threads)
    from spotweave.finetune.expression_side import write_expression_embeddings

    return write_expression_embeddings(args.embeddings, args.expression, args.sample, args.folds)


if __name__ == "__main__":
    stage.run(work)
