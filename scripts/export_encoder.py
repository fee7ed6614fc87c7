"""Write one fold's encoder for others: a safetensors file, a card, and the row of config/encoders.csv that asks for it.

python scripts/export_encoder.py results/her2st simclr-her2st --fold 0 --out shared-encoder
"""

import argparse
import sys
from pathlib import Path

import _stage  # noqa: F401 (puts the library on the path)
from spotweave.errors import Refusal

parser = argparse.ArgumentParser(
    prog="export_encoder.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument("results", type=Path, help="the dataset's folder, results/<dataset>")
parser.add_argument("recipe")
parser.add_argument("--fold", type=int, default=0)
parser.add_argument("--out", type=Path, required=True)


def main():
    from spotweave.finetune.export import export_encoder

    args = parser.parse_args()
    try:
        print("\n".join(map(str, export_encoder(args.results, args.recipe, args.fold, args.out))))
    except Refusal as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
