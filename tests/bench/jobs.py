"""What the jobs of one small sample cost, and one fold of a probe, as the rules call them.

CPU seconds of one thread, beside starting Python with the packages that each job uses: what it cannot cost less than.
Nuclei are left out; fetching finds the downloads there.
"""

from __future__ import annotations

import json
import shlex
import shutil
import statistics
import sys
from pathlib import Path

from job_imports import JOBS
from measure import cost_of

ROOT = Path(__file__).resolve().parents[2]
TREE = ("Snakefile", "config", "workflow", "scripts", "envs", "resources", "profiles")
SAMPLE = "demo-a1"
FOLD = "results/demo/predictions/demo/strict/handcrafted+ridge/fold0.h5"
CHAIN = (
    *("fetch_sample", "read_expression", "align_array", "build_pyramid", "segment_tissue", "assemble_sample"),
    *("extract_patches", "describe_sample", "fingerprint_sample"),
)
REPEATS = 5
SETTINGS = """
dataset: demo
cohorts: [config/cohorts/demo.csv]
encoders: [handcrafted]
tasks: [demo]
recipes: []
nuclei: []
"""


def bench_jobs(folder: Path) -> list[str]:
    """Lines of the table."""
    for name in TREE:
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy2)(ROOT / name, folder / name)
    (folder / "config/one.yaml").write_text(SETTINGS)
    # Files wanted stand before the option, which takes all words after it.
    snakemake = ["--profile", "profiles/local", "--configfile", "config/one.yaml"]
    wanted = [f"results/demo/samples/{SAMPLE}/{name}.json" for name in ("metadata", "fingerprint")]
    served = ["scripts/serve_demo.py", "--folder", "data/simulated/demo", "--", sys.executable, "-m"]
    cost_of([sys.executable, *served, "snakemake", *wanted, FOLD, *snakemake], folder)
    return rows(folder)


def rows(folder: Path, repeats: int = REPEATS) -> list[str]:
    """Lines of the table, of a folder where the demo was built."""
    commands = commands_of(folder)
    chain: list[tuple[float, float]] = []
    fold: list[tuple[float, float]] = []
    start: list[float] = []
    for _ in range(repeats):
        start.append(cost_of([sys.executable, "-c", "pass"], folder).cpu_s)
        costs = {job: (_cpu_s(commands[job], folder), _least_s(job, folder)) for job in (*CHAIN, "fit_probe")}
        chain.append((sum(costs[job][0] for job in CHAIN), sum(costs[job][1] for job in CHAIN)))
        fold.append(costs["fit_probe"])
    python_s = statistics.median(start)
    return [
        f"| {len(CHAIN)} jobs of a small sample of spots (99 spots, nuclei left out) | {_said(chain, python_s)} |",
        f"| one fold of `strict`, `handcrafted` and `ridge`, on the demo | {_said(fold, python_s)} |",
    ]


def commands_of(folder: Path) -> dict[str, str]:
    """Job -> its command line, as Snakemake noted it when it ran."""
    found = {}
    for path in (folder / ".snakemake/metadata").iterdir():
        noted = json.loads(path.read_text())
        if SAMPLE in str(noted["shellcmd"]) or f"--prediction {FOLD}" in str(noted["shellcmd"]):
            found[noted["rule"]] = noted["shellcmd"]
    return {job: found[job] for job in (*CHAIN, "fit_probe")}


def _cpu_s(command: str, folder: Path) -> float:
    """CPU seconds of a rule's command, with one thread, as Snakemake runs it."""
    one = " ".join(f"{library}_NUM_THREADS=1" for library in ("OMP", "OPENBLAS", "MKL"))
    path = f"PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH"
    return cost_of(["bash", "-c", f"set -euo pipefail; export {one} {path}; {command}"], folder).cpu_s


def _least_s(job: str, folder: Path) -> float:
    """CPU seconds of starting Python with the packages that a job uses."""
    packages = sorted(JOBS[job][1])
    line = f"import {', '.join(packages)}" if packages else "pass"
    return cost_of([sys.executable, "-c", line], folder).cpu_s


def _said(costs: list[tuple[float, float]], python_s: float) -> str:
    ours = [one for one, _ in costs]
    ratios = [one / least for one, least in costs]
    return (
        f"{statistics.median(ours):.2f} CPU s ({min(ours):.2f} to {max(ours):.2f}, n={len(costs)}),"
        f" {statistics.median(ratios):.2f} times ({min(ratios):.2f} to {max(ratios):.2f}) starting Python with"
        f" the packages they use, {statistics.median(ours) / python_s:.0f} times `python -c pass`"
    )
