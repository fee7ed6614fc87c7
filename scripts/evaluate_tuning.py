"""What labels and expression say of a recipe's embeddings beside those of the encoder it starts from, fold by fold."""

from pathlib import Path

from _stage import Stage

stage = Stage("evaluate_tuning", __doc__, inputs=["table", "splits"], outputs=["rows", "summary"])
stage.option("--results", required=True, type=Path, help="the dataset's folder")
stage.option("--recipe", required=True)
stage.option("--base", required=True, help="name of the encoder it starts from")
stage.option("--stand-ins", nargs="*", default=[], help="what stands in for parts of what was published, to be said")
stage.option("--labels", nargs="*", default=[], help="tables of labels of spots, as file or sample=file")
stage.option("--genes", nargs="*", default=[], help="to be predicted; none for those of ST-Align")


def work(args):
    from spotweave.evaluation.command import write
    from spotweave.evaluation.files import Asked
    from spotweave.evaluation.genes import NINE_GENES
    from spotweave.io import read_json

    task = read_json(args.splits)["task"]
    asked = Asked([args.base, args.recipe], task, args.labels, genes=args.genes or NINE_GENES, stand_ins=args.stand_ins)
    return {"numbers": write(args.results, asked, args.rows, args.summary, args.rows.parent / "maps")}


if __name__ == "__main__":
    stage.run(work)
