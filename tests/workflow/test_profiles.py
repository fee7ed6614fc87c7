"""Profiles resolve from the repository's root, and every rule says what it needs."""

import csv
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
RULES = re.findall(
    r"^rule (\w+):\n(.*?)(?=^rule |^def |\Z)",
    "\n".join(path.read_text() for path in sorted((ROOT / "workflow/rules").glob("*.smk"))),
    re.MULTILINE | re.DOTALL,
)


def dry_run(*arguments):
    command = [sys.executable, "-m", "snakemake", "-n", "-q", "all", "--configfile", "config/demo.yaml", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("profile", ["slurm", "profiles/slurm", "profiles/local", "profiles/ci"])
def test_a_profile_resolves_from_the_root(profile):
    done = dry_run("--profile", profile)
    assert done.returncode == 0, done.stderr[-2000:]


def test_there_is_no_default_profile_that_would_override_the_chosen_one():
    assert not (ROOT / "profiles/default").exists()


@pytest.mark.parametrize(("name", "body"), RULES, ids=[name for name, _ in RULES])
def test_every_job_states_threads_memory_time_log_and_environment(name, body):
    if "shell:" not in body:
        return
    for needed in ("log:", "conda:", "threads:", "mem_mb=", "runtime=", "code="):
        assert needed in body, f"{name} lacks {needed}"
    assert f"scripts/{name}.py" in body
    assert (ROOT / f"scripts/{name}.py").is_file()


def test_the_rules_that_run_networks_ask_for_a_gpu():
    asking = {name for name, body in RULES if "gpu=" in body}
    assert asking == {"embed_patches", "finetune_encoder"}


def test_the_environments_name_the_versions_of_the_lock():
    lock = dict(line.split("==") for line in (ROOT / "envs/requirements.lock").read_text().splitlines() if "==" in line)
    for path in (ROOT / "envs").glob("*.yaml"):
        pins = dict(re.findall(r"- ([\w-]+)==(\S+)", path.read_text()))
        assert pins
        assert pins.items() <= lock.items(), path.name


@pytest.mark.parametrize("profile", ["slurm", "local", "ci"])
def test_a_profile_is_as_polite_to_each_publisher_as_its_row_asks(profile):
    resources = yaml.safe_load((ROOT / f"profiles/{profile}/profile.v9+.yaml").read_text())["resources"]
    with open(ROOT / "resources/sources.csv", newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if row["downloads_at_once"]]
    assert len(rows) > 10
    for row in rows:
        assert resources[f"{row['source']}_downloads"] <= int(row["downloads_at_once"]), row["source"]
