"""Predict the expression of a slide of your own by a method that was trained here.

python scripts/predict_slide.py slide.svs --model results/her2st_methods/models/her2st-785/strict/st_net-reduced/fold0
    --out predicted
"""

import argparse
import sys
from pathlib import Path

import _stage  # noqa: F401 (puts the library on the path)
from spotweave.errors import Refusal

LAYOUT = argparse.RawDescriptionHelpFormatter

parser = argparse.ArgumentParser(prog="predict_slide.py", description=__doc__, formatter_class=LAYOUT)
parser.add_argument("slide", type=Path, help="the H&E picture, of any format that samples may have")
parser.add_argument("--model", type=Path, required=True, help="the folder of a trained method (docs/predicting.md)")
parser.add_argument("--out", type=Path, required=True, help="folder for predictions.h5ad, genes.csv and genes.png")
parser.add_argument("--pixel-size-um", type=float, help="um a pixel of the slide; left out, what its file says")
parser.add_argument("--spots", type=Path, help="CSV with x and y, px of the slide; left out, a lattice over the tissue")
parser.add_argument("--pitch-um", type=float, help="of the lattice; left out, that of the spots it was trained on")
parser.add_argument("--lattice", choices=["square", "hexagonal"], help="left out, that of the spots it was trained on")
parser.add_argument("--genes", nargs="+", default=[], help="that are drawn; left out, those that differ most")
parser.add_argument("--dataset", type=Path, help="results/<dataset> that it was trained in; left out, where it lies")
parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: %(default)s)")


def main():
    from spotweave.predicting.command import Asked, predict_slide

    given = vars(parser.parse_args())
    given["layout"] = given.pop("lattice")
    try:
        print(predict_slide(Asked(**given, script=Path(__file__).resolve())))
    except Refusal as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
