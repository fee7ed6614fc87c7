"""The slurm profile on a real Slurm: the same bytes as on one machine."""

import re
import shutil
import subprocess

import pytest

from project import SMALL, Project

# A sample's nine stages, the audit of identity, its cohort and the dataset.
JOBS = 12
ONE = {**SMALL, "tasks": [], "encoders": []}


def slurm_answers() -> bool:
    if shutil.which("sinfo") is None:
        return False
    return subprocess.run(["sinfo", "-h"], capture_output=True, timeout=20, check=False).returncode == 0


needs_slurm = pytest.mark.skipif(not slurm_answers(), reason="no Slurm here; tests/cluster/slurm.sh brings one up")


def one_sample(folder, deposit):
    project = Project(folder, deposit, ONE)
    table = project.folder / "config/cohorts/demo.csv"
    table.write_text("".join(table.read_text().splitlines(True)[:2]))
    return project


@needs_slurm
def test_a_sample_built_by_slurm_jobs_has_the_manifest_of_a_local_build(tmp_path_factory, deposit):
    local = one_sample(tmp_path_factory.mktemp("local"), deposit)
    local.snakemake("dataset")
    cluster = one_sample(tmp_path_factory.mktemp("cluster"), deposit)
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
    assert len(re.findall(r"SLURM jobid '?\d+", done.stdout + done.stderr)) == JOBS
    manifests = [(project.results / "MANIFEST.sha256").read_text() for project in (local, cluster)]
    assert manifests[0] == manifests[1]
