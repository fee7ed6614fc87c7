"""What a wrong pixel size, half a spot's shift and another size of pooling do to the scores of a task that was run.

python scripts/measure_sensitivity.py results/her2st her2st --encoders handcrafted --configfile config/her2st.yaml

Patches are cut again from the samples' slides; all that is written is one table, benchmark/sensitivity.csv.
"""

import argparse
import sys
from pathlib import Path

import _stage  # noqa: F401 (puts the library on the path)
from spotweave.errors import Refusal, TableFaults

ROOT = Path(__file__).resolve().parents[1]
LAYOUT = argparse.RawDescriptionHelpFormatter

parser = argparse.ArgumentParser(prog="measure_sensitivity.py", description=__doc__, formatter_class=LAYOUT)
parser.add_argument("results", type=Path, help="the dataset's folder, results/<dataset>")
parser.add_argument("task", help="name of the task")
parser.add_argument("--encoders", nargs="+", required=True, help="names of the encoder table")
parser.add_argument("--probes", nargs="+", default=["ridge"])
parser.add_argument("--protocols", nargs="*", default=[], help="all that the task was run under, if not given")
parser.add_argument("--metrics", nargs="+", default=["pearson"])
parser.add_argument("--configfile", type=Path, default=ROOT / "config/config.yaml", help="names the encoder table")
parser.add_argument("--out", type=Path, help="the table; benchmark/sensitivity.csv of the results, if not given")
parser.add_argument("--block-um", type=float, default=1500.0, help="side of the blocks of tissue drawn again")
parser.add_argument("--seed", type=int, default=1, help="of PCA and of random weights")
parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
parser.add_argument("--batch", type=int, default=64, help="patches at a time")


def main():
    from spotweave.plan import query
    from spotweave.sensitivity.command import Asked, measure

    args = parser.parse_args()
    try:
        rows = query.encoder_rows(ROOT, args.configfile, args.encoders)
        chosen = (args.probes, args.protocols, args.metrics, args.block_um, args.seed, args.device, args.batch, ROOT)
        print(measure(args.results, args.task, Asked(rows, *chosen), args.out))
    except (Refusal, TableFaults) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
