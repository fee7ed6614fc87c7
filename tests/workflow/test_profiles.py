"""Profiles resolve from the repository's root, and every rule says what it needs."""

import ast
import csv
import importlib.util
import re
from pathlib import Path

import pytest
import yaml

from project import TREE, plan

ROOT = Path(__file__).resolve().parents[2]
RULES = re.findall(
    r"^rule (\w+):\n(.*?)(?=^rule |^def |\Z)",
    "\n".join(path.read_text() for path in sorted((ROOT / "workflow/rules").glob("*.smk"))),
    re.MULTILINE | re.DOTALL,
)


SLURM = yaml.safe_load((ROOT / "profiles/slurm/profile.v9+.yaml").read_text())
SPEAKING = """
def _say(dag, check=DAG.check_directory_outputs):
    check(dag)
    print('groups', dict(dag.workflow.group_settings.overwrite_groups))
    print('samples', dict(dag.workflow.group_settings.group_components))
DAG.check_directory_outputs = _say
"""


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
    assert asking == {
        "embed_patches",
        "embed_together",
        "finetune_encoder",
        "fit_method",
        "segment_nuclei",
        "segment_tissue",
    }


def test_the_environments_name_the_versions_of_the_lock():
    lines = [
        line for name in ("requirements.lock", "pretrained.txt") for line in (ROOT / "envs" / name).read_text().split()
    ]
    lock = dict(line.split("==") for line in lines if "==" in line)
    for path in (ROOT / "envs").glob("*.yaml"):
        pins = dict(re.findall(r"- ([\w-]+)==(\S+)", path.read_text()))
        assert pins
        assert pins.items() <= lock.items(), path.name


def test_the_environment_of_pretrained_weights_is_torch_s_and_their_packages():
    both = ((ROOT / f"envs/{name}.yaml").read_text() for name in ("torch", "pretrained"))
    torch, pretrained = (set(re.findall(r"- ([\w-]+==\S+)", text)) for text in both)
    more = {line for line in (ROOT / "envs/pretrained.txt").read_text().splitlines() if "==" in line}
    assert pretrained == torch | more


def test_no_profile_repeats_what_the_row_of_a_source_says():
    for path in (ROOT / "profiles").glob("*/*.yaml"):
        assert not re.findall(r"\w+_downloads", path.read_text()), path


@pytest.mark.parametrize(("options", "most"), [((), "2"), (("--resources", "zenodo_downloads=1"), "1")])
def test_downloads_from_one_publisher_are_limited_by_its_row(options, most, tmp_path):
    linked(tmp_path, "print('limits', *(f'{name}={one.value}' for name, one in workflow.global_resources.items()))")
    done = plan(tmp_path, "-q", "all", "--configfile", "config/demo.yaml", *options)
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("limits ")]
    found = dict(word.split("=") for word in line.split() if "_downloads=" in word)
    with open(ROOT / "resources/sources.csv", newline="") as handle:
        rows = {row["source"]: row["downloads_at_once"] for row in csv.DictReader(handle)}
    assert found == {f"{name}_downloads": limit for name, limit in rows.items() if limit} | {"zenodo_downloads": most}


def test_the_group_of_the_slurm_profile_is_what_is_made_of_one_sample_after_its_download():
    made = {name: body.partition("output:")[2].partition("log:")[0] for name, body in RULES}
    of_a_sample = {name for name, outputs in made.items() if '"<samples>/{sample}/' in outputs}
    assert set(SLURM["groups"]) == of_a_sample - {
        *("fetch_sample", "fetch", "embed_patches", "embed_together"),
        "embed_expression",  # it waits for what was trained on all samples
    }
    assert set(SLURM["groups"].values()) == {"sample"}


def test_jobs_of_one_array_ask_for_the_same():
    """Slurm gives all what the first asks for: no resource may depend on wildcards, and no download be limited."""
    for name in SLURM["slurm-array-jobs"].split(","):
        body = dict(RULES)[name]
        asked = body.partition("threads:")[2].partition("params:")[0]
        assert "lambda" not in asked, name
        assert "downloads" not in asked, name


def test_the_executor_still_asks_how_many_jobs_are_pending_where_we_answer():
    """`submit_what_is_ready` answers for it; in an executor that no longer asks, arrays need another look."""
    folder = Path(importlib.util.find_spec("snakemake_executor_plugin_slurm").origin).parent
    assert "pending_jobs_for_rule(dag, rule_name)" in (folder / "__init__.py").read_text()


@pytest.mark.parametrize(
    ("settings", "alone", "after"),
    [
        ("tissue: {gpu: 1}\n", {"segment_tissue"}, {"assemble_sample": "sample_after_segment_tissue"}),
        (
            "nuclei: [cellvit-sam-h, classical]\n",
            {"segment_nuclei"},
            {"assemble_sample": "sample", "describe_sample": "sample_after_segment_nuclei"},
        ),
        (
            "tissue: {gpu: 1}\nnuclei: [cellvit-sam-h]\n",
            {"segment_tissue", "segment_nuclei"},
            {"describe_sample": "sample_after_segment_tissue_after_segment_nuclei"},
        ),
    ],
)
def test_a_job_on_a_gpu_is_in_no_group_and_the_plan_holds(settings, alone, after, tmp_path):
    linked(tmp_path, SPEAKING)
    (tmp_path / "gpu.yaml").write_text(settings)
    options = ("--profile", "profiles/slurm", "--group-components", "sample=3")
    done = plan(tmp_path, "-q", "all", *options, "--configfile", "config/demo.yaml", "gpu.yaml")
    assert done.returncode == 0, done.stderr[-2000:]
    said = dict(line.split(" ", 1) for line in done.stdout.splitlines() if line.startswith(("groups ", "samples ")))
    groups, samples = (ast.literal_eval(said[what]) for what in ("groups", "samples"))
    assert samples == dict.fromkeys(groups.values(), 3)
    assert set(groups) == set(SLURM["groups"]) - alone
    assert after.items() <= groups.items()


def linked(folder, more):
    """The project in a folder, with more at the end of its Snakefile."""
    for name in TREE:
        (folder / name).symlink_to(ROOT / name)
    (folder / "Snakefile").unlink()
    (folder / "Snakefile").write_text(f"{(ROOT / 'Snakefile').read_text()}\n\n{more}\n")
