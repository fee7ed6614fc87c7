"""Evaluate embeddings of a dataset's spots against labels, slides and expression, before and after fine-tuning.

python scripts/evaluate_embeddings.py results/her2st --encoders efficientnet-lite0 infonce-her2st --task her2st \\
    --labels layers.tsv --maps --out evaluated

In --out: evaluation.csv, every number with its split, seed and sample; evaluation.json, means, deviations, changes.
"""

import argparse
import sys
from pathlib import Path

import _stage  # noqa: F401 (puts the library on the path)
from spotweave.errors import Refusal

LAYOUT = argparse.RawDescriptionHelpFormatter

parser = argparse.ArgumentParser(prog="evaluate_embeddings.py", description=__doc__, formatter_class=LAYOUT)
parser.add_argument("results", type=Path, help="the dataset's folder, results/<dataset>")
parser.add_argument("--encoders", nargs=2, required=True, help="names of embeddings: before, after")
parser.add_argument("--out", type=Path, required=True)
parser.add_argument(
    "--task", default="", help="whose folds an encoder was learned in; each is evaluated on what it tests"
)
parser.add_argument("--labels", nargs="*", default=[], help="tables of labels of spots, as file or sample=file")
parser.add_argument("--slide-labels", type=Path, help="csv of sample,label with two labels")
parser.add_argument(
    "--of-expression",
    type=Path,
    help="folder of <encoder>/<sample>.h5, embeddings of expression in its space; the dataset's",
)
parser.add_argument("--genes", nargs="*", help="to be predicted; the nine of ST-Align, if not given")
parser.add_argument("--regressor", choices=("ridge", "mlp"), default="ridge", help="what predicts them")
parser.add_argument("--guard-um", type=float, default=300.0, help="width of the band around tested blocks")
parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
parser.add_argument("--maps", action="store_true", help="draw t-SNE of each slide")


def main():
    from spotweave.evaluation.command import Asked, run
    from spotweave.evaluation.genes import NINE_GENES

    args = parser.parse_args()
    genes = NINE_GENES if args.genes is None else args.genes
    files = (args.encoders, args.task, args.labels, args.slide_labels, args.of_expression)
    try:
        print(run(args.results, Asked(*files, genes, args.regressor, args.guard_um, args.seeds, args.maps), args.out))
    except Refusal as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
