"""The project's speed as ratios within one run: against what the hardware and libraries allow, and against scale.

Absolute figures move with the machine and its load, ratios far less. Peers' figures are those measured with the same
reference on the same kind of machine; they are quoted as ratios to that reference.
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "workflow"))
sys.path.insert(0, str(ROOT / "tests"))

SAMPLES = 1229
REPEATS = 3


def best(work: Callable[[], object]) -> float:
    """Least wall seconds of three runs."""
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def bench_plan(folder: Path) -> list[str]:
    """A dry run of 1,229 samples, and what one job of it costs to start."""
    from measure import cost_of

    for name in ("Snakefile", "config", "workflow", "scripts", "envs", "resources", "profiles"):
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy2)(ROOT / name, folder / name)
    with open(ROOT / "config/cohorts/her2st.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    names = []
    for number in range(0, SAMPLES, 50):
        name = f"config/cohorts/c{number}.csv"
        names.append(name)
        with open(folder / name, "w", newline="") as handle:
            writer = csv.DictWriter(handle, list(rows[0]))
            writer.writeheader()
            for index in range(number, min(number + 50, SAMPLES)):
                writer.writerow({**rows[index % len(rows)], "sample_id": f"s{index}", "donor": f"d{index // 4}"})
    settings = f"cohorts: [{', '.join(names)}]\ntasks: []\nencoders: []\nrecipes: []\n"
    (folder / "config/many.yaml").write_text(settings)
    snakemake = [sys.executable, "-m", "snakemake", "--cores", "1"]
    many = ["--configfile", "config/many.yaml"]
    listed = cost_of([*snakemake, "-n", *many], folder)
    quiet = cost_of([*snakemake, "-n", "-q", *many], folder)
    one = cost_of([*snakemake, "results/her2st/samples/s700/patches.h5", "-n", "-q", *many], folder)
    bare = cost_of([sys.executable, "-c", "import snakemake.cli"], folder)
    return [
        f"| dry run, {SAMPLES:,} samples, 9,860 jobs | {listed.cpu_s:.1f} CPU s, {listed.peak_mb:.0f} MB with every job"
        f" listed (`-n`), {quiet.cpu_s:.1f} CPU s, {quiet.peak_mb:.0f} MB as a summary (`-n -q`) |",
        f"| start of one job among {SAMPLES:,} samples | {one.cpu_s:.1f} CPU s, {one.peak_mb:.0f} MB;"
        f" importing Snakemake alone takes {bare.cpu_s:.1f} CPU s |",
    ]


def bench_tables(folder: Path) -> list[str]:
    from spotweave.tables.rows import read_table

    with open(ROOT / "config/cohorts/her2st.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    path = folder / "many.csv"
    with open(path, "w", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows({**rows[n % len(rows)], "sample_id": f"s{n}"} for n in range(SAMPLES))

    def plain() -> None:
        with open(path, newline="") as opened:
            list(csv.DictReader(opened))

    schema = ROOT / "workflow/schemas/cohort.schema.yaml"
    checked, read = best(lambda: read_table(path, schema, "sample_id")), best(plain)
    catalogue, imports = catalogue_costs(folder)
    return [
        f"| check {SAMPLES:,} table rows | {checked:.3f} s, {checked / read:.1f} times reading the CSV |",
        f"| check the whole catalogue, as `scripts/query.py` does | {catalogue:.2f} CPU s,"
        f" {catalogue / imports:.1f} times starting Python with the table library |",
    ]


def catalogue_costs(folder: Path) -> tuple[float, float]:
    """CPU seconds of a query over the whole catalogue, and of importing what it needs."""
    from measure import cost_of

    query = [sys.executable, str(ROOT / "scripts/query.py"), "--count", "technology"]
    bare = [
        sys.executable,
        "-c",
        f"import sys; sys.path.insert(0, {str(ROOT / 'workflow')!r}); import spotweave.plan.tables",
    ]
    return cost_of(query, folder).cpu_s, cost_of(bare, folder).cpu_s


def bench_patches(folder: Path) -> list[str]:
    from patches import bench_patches

    return bench_patches(folder)


def bench_ridge(_: Path) -> list[str]:
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import GridSearchCV

    from spotweave.probes.ridge import ridge_path

    rng = np.random.default_rng(0)
    features, target = rng.normal(size=(800, 256)), rng.normal(size=(800, 50))
    alphas = np.logspace(-2, 7, 19)

    def ours() -> None:
        for fold in range(5):
            keep = np.arange(800) % 5 != fold
            path = ridge_path(features[keep], target[keep], fit_intercept=True)
            for alpha in alphas:
                path.coefficients(alpha)

    ours_s = best(ours)
    grid_s = best(lambda: GridSearchCV(Ridge(), {"alpha": alphas}, cv=5).fit(features, target))
    return [f"| ridge, 19 penalties x 5 folds | {ours_s:.2f} s, {grid_s / ours_s:.0f} times faster than GridSearchCV |"]


def bench_bins(folder: Path) -> list[str]:
    from visium_hd import bench_visium_hd

    return bench_visium_hd(folder)


def bench_transcripts(folder: Path) -> list[str]:
    from transcripts import bench_transcripts

    return bench_transcripts(folder)


def bench_slides(folder: Path) -> list[str]:
    from slides import bench_slides

    return bench_slides(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    lines = []
    for part in (bench_plan, bench_tables, bench_slides, bench_patches, bench_ridge, bench_bins, bench_transcripts):
        with tempfile.TemporaryDirectory() as folder:
            lines += part(Path(folder))
    print(*lines, sep="\n")
    text = (
        "# What was measured\n\nWritten by `make bench`: least of three repeats within one run, on"
        f" {os.cpu_count()} cores ({platform.machine()}, Python {platform.python_version()}). Ratios travel, seconds do"
        " not.\n\n| what | figure |\n|---|---|\n" + "\n".join(lines) + "\n"
    )
    out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
