"""Whether an encoder's embeddings lie by biology or by medical centre, on a dataset that was built.

python scripts/measure_robustness.py results/mine --encoders uni handcrafted --labels annotations.csv

Writes one table, benchmark/robustness.csv. Without --labels, a sample's OncoTree code is its label, its cohort the
centre, its donor the group.
"""

import argparse
import sys
from pathlib import Path

import _stage  # noqa: F401 (puts the library on the path)
from spotweave.errors import Refusal

LAYOUT = argparse.RawDescriptionHelpFormatter

parser = argparse.ArgumentParser(prog="measure_robustness.py", description=__doc__, formatter_class=LAYOUT)
parser.add_argument("results", type=Path, help="the dataset's folder, results/<dataset>")
parser.add_argument("--encoders", nargs="+", required=True, help="encoders that the dataset was embedded with")
parser.add_argument("--labels", type=Path, help="CSV: sample_id, label, centre; barcode and group if need be")
parser.add_argument("--per-sample", type=int, default=500, help="patches drawn of a sample at most")
parser.add_argument("--seed", type=int, default=1, help="of the draw")
parser.add_argument("--out", type=Path, help="the table; benchmark/robustness.csv of the results, if not given")


def main():
    from spotweave.robustness.command import Asked, measure

    args = parser.parse_args()
    try:
        print(measure(args.results, Asked(args.encoders, args.per_sample, args.seed, args.labels), args.out))
    except Refusal as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
