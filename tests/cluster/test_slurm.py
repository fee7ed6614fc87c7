"""The slurm profile on a real Slurm: the same bytes as on one machine."""

import csv
import re
import shutil
import subprocess

import pytest

from project import SMALL, Project

# Two downloads, two groups, the audit of identity, the cohort and the dataset; ungrouped, each sample has nine stages.
SUBMISSIONS = 7
ONE_BY_ONE = 21
TWO = {**SMALL, "tasks": [], "encoders": []}


def slurm_answers() -> bool:
    if shutil.which("sinfo") is None:
        return False
    return subprocess.run(["sinfo", "-h"], capture_output=True, timeout=20, check=False).returncode == 0


needs_slurm = pytest.mark.skipif(not slurm_answers(), reason="no Slurm here; tests/cluster/slurm.sh brings one up")


def two_samples(folder, deposit):
    """A project of two samples, the second of which is refused when it is read: its counts are a picture."""
    project = Project(folder, deposit, TWO)
    table = project.folder / "config/cohorts/demo.csv"
    with open(table, newline="") as handle:
        rows = list(csv.DictReader(handle))[:2]
    rows[1]["counts"] = rows[1]["image"]
    rows[1].pop("counts_checksum", None)
    with open(table, "w", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]), extrasaction="ignore", restval="")
        writer.writeheader()
        writer.writerows(rows)
    return project


@needs_slurm
def test_samples_built_by_slurm_groups_have_the_manifest_of_a_local_build(tmp_path_factory, deposit):
    local = two_samples(tmp_path_factory.mktemp("local"), deposit)
    # The words before the target end the list that --quiet takes; the target itself is no submission.
    assert sum(local.planned("--cores", "1", "dataset").values()) - 1 == ONE_BY_ONE
    local.snakemake("dataset")
    cluster = two_samples(tmp_path_factory.mktemp("cluster"), deposit)
    done = cluster.snakemake(
        "dataset",
        "--profile",
        "profiles/slurm",
        "--slurm-no-account",
        "--slurm-status-command",
        "squeue",
        "--slurm-init-seconds-before-status-checks",
        "8",
        "--latency-wait",
        "10",
        "--default-resources",
        "slurm_partition=main",
        "mem_mb=500",
        "runtime=10",
    )
    assert len(re.findall(r"SLURM jobid '?\d+", done.stdout + done.stderr)) == SUBMISSIONS
    manifests = [(project.results / "MANIFEST.sha256").read_text() for project in (local, cluster)]
    assert manifests[0] == manifests[1]
    assert [row["sample_id"] for row in cluster.rows("quarantine.csv")] == ["demo-b1"]
