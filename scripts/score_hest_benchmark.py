"""Score encoders on HEST-Benchmark's released folder, beside published numbers.

python scripts/score_hest_benchmark.py ~/hest-bench --tasks IDC PRAD --encoders uni handcrafted

In --out: scores.csv; published.csv, every published cell with what was measured or why it was not; measured.jsonl, a
ledger with the date, code, weights, data and device of each number.
"""

import argparse
import sys
from pathlib import Path

import _stage  # noqa: F401 (puts the library on the path)
from spotweave.errors import Refusal, TableFaults

ROOT = Path(__file__).resolve().parents[1]
LAYOUT = argparse.RawDescriptionHelpFormatter

parser = argparse.ArgumentParser(prog="score_hest_benchmark.py", description=__doc__, formatter_class=LAYOUT)
parser.add_argument("folder", type=Path, help="the folder that holds IDC, PRAD and others")
parser.add_argument("--tasks", nargs="*", default=[], help="names of its folders; all, if not given")
parser.add_argument("--encoders", nargs="+", required=True, help="names of the encoder table")
parser.add_argument("--probes", nargs="+", default=["ridge"])
parser.add_argument("--protocol", default="hest_exact", help="published numbers are compared under hest_exact only")
parser.add_argument("--out", type=Path, default=Path("results/hest-benchmark"))
parser.add_argument("--configfile", type=Path, default=ROOT / "config/hest_bench.yaml", help="names the encoder table")
parser.add_argument("--seed", type=int, default=1, help="of PCA and of random weights")
parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
parser.add_argument("--batch", type=int, default=64, help="patches at a time")


def main():
    from spotweave.codehash import code_hash
    from spotweave.plan import query
    from spotweave.released.command import Measuring, measure

    args = parser.parse_args()
    code = code_hash(ROOT / "workflow", Path(__file__).resolve())
    try:
        rows = query.encoder_rows(ROOT, args.configfile, args.encoders)
        asked = (args.probes, args.protocol, args.seed, args.device, args.batch, ROOT, code)
        print(measure(args.folder, args.tasks, Measuring(rows, *asked), args.out))
    except (Refusal, TableFaults, ConnectionError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
