"""A dataset the size of HEST-1k: planned in bounded memory, with command lines that the kernel takes."""

import csv
import sys

from measure import cost_of
from project import ROOT, SMALL, Project

SAMPLES = 1229
# Far below the kernel's 2 MB for a command line, and still readable in a log.
COMMAND_LIMIT_BYTES = 64 * 1024


def test_a_dry_run_of_1229_samples_stays_small(tmp_path):
    cohort = ROOT / "config/cohorts/her2st.csv"
    with open(cohort, newline="") as handle:
        rows = list(csv.DictReader(handle))
    config = {**SMALL, "dataset": "many", "cohorts": ["config/cohorts/demo.csv"], "tasks": ["demo"]}
    project = Project(tmp_path, tmp_path / "deposit", config)
    with open(project.folder / "config/cohorts/demo.csv", "w", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        for number in range(SAMPLES):
            writer.writerow({**rows[number % len(rows)], "sample_id": f"sample-{number}", "donor": f"d{number // 4}"})
    command = [sys.executable, "-m", "snakemake", "-n", "-p", "--cores", "1", "--configfile", "config/try.yaml"]
    cost = cost_of(command, project.folder)
    commands = [line for line in cost.said.splitlines() if line.startswith("Shell command: ")]
    assert sum("scripts/extract_patches.py" in line for line in commands) == SAMPLES
    assert max(map(len, commands)) < COMMAND_LIMIT_BYTES
    assert cost.peak_mb < 1024
