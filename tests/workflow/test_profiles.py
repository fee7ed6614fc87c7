"""Profiles resolve from the repository's root, and every rule says what it needs."""

import csv
import re
from pathlib import Path

import pytest

from project import TREE, plan

ROOT = Path(__file__).resolve().parents[2]
RULES = re.findall(
    r"^rule (\w+):\n(.*?)(?=^rule |^def |\Z)",
    "\n".join(path.read_text() for path in sorted((ROOT / "workflow/rules").glob("*.smk"))),
    re.MULTILINE | re.DOTALL,
)


def dry_run(*arguments):
    return plan(ROOT, "-q", "all", "--configfile", "config/demo.yaml", *arguments)


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
    assert asking == {"embed_patches", "finetune_encoder", "segment_nuclei", "segment_tissue"}


def test_the_environments_name_the_versions_of_the_lock():
    lines = [
        line for name in ("requirements.lock", "pretrained.txt") for line in (ROOT / "envs" / name).read_text().split()
    ]
    lock = dict(line.split("==") for line in lines if "==" in line)
    for path in (ROOT / "envs").glob("*.yaml"):
        pins = dict(re.findall(r"- ([\w-]+)==(\S+)", path.read_text()))
        assert pins
        assert pins.items() <= lock.items(), path.name


def test_no_profile_repeats_what_the_row_of_a_source_says():
    for path in (ROOT / "profiles").glob("*/*.yaml"):
        assert not re.findall(r"\w+_downloads", path.read_text()), path


@pytest.mark.parametrize(("options", "most"), [((), "2"), (("--resources", "zenodo_downloads=1"), "1")])
def test_downloads_from_one_publisher_are_limited_by_its_row(options, most, tmp_path):
    for name in TREE:
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "Snakefile").unlink()
    shown = "print('limits', *(f'{name}={one.value}' for name, one in workflow.global_resources.items()))"
    (tmp_path / "Snakefile").write_text(f"{(ROOT / 'Snakefile').read_text()}\n\n{shown}\n")
    done = plan(tmp_path, "-q", "all", "--configfile", "config/demo.yaml", *options)
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("limits ")]
    found = dict(word.split("=") for word in line.split() if "_downloads=" in word)
    with open(ROOT / "resources/sources.csv", newline="") as handle:
        rows = {row["source"]: row["downloads_at_once"] for row in csv.DictReader(handle)}
    assert found == {f"{name}_downloads": limit for name, limit in rows.items() if limit} | {"zenodo_downloads": most}
