"""What Snakemake takes to start one job of many samples, before the job itself."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from dry_run import make_tree
from measure import cost_of
from turns import seconds, times

SAMPLES = 1229
REPEATS = 3


def bench_job_start(folder: Path) -> list[str]:
    """Rows of the table."""
    make_tree(folder, SAMPLES)
    target = "results/her2st/samples/s700/patches.h5"
    one = [sys.executable, "-m", "snakemake", "--cores", "1", target, "-n", "-q", "--configfile", "config/many.yaml"]
    bare = [sys.executable, "-c", "import snakemake.cli"]
    pairs = [(cost_of(one, folder), cost_of(bare, folder)) for _ in range(REPEATS)]
    ours, alone = ([cost.cpu_s for cost in side] for side in zip(*pairs, strict=True))
    peak_mb = max(pair[0].peak_mb for pair in pairs)
    return [
        f"| start of one job among {SAMPLES:,} samples | {seconds(ours)}, {peak_mb:.0f} MB: {times(ours, alone)}"
        f" importing Snakemake ({seconds(alone)}) |"
    ]
