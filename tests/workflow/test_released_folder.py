"""Tasks of HEST-Benchmark's released folder in the plan, and the jobs that take them run as they are planned."""

import importlib
import io
import re
import shlex
import sys

import pytest
from released_folder import SIDE, write_root

from project import SMALL, Project
from spotweave.benchmark.targets import Targets
from spotweave.io import read_json

TASK = "released-t"
CONFIG = {**SMALL, "released_dir": "release", "protocols": ["hest_exact"], "patch": {"size_px": SIDE}}
ALONE = {**CONFIG, "cohorts": [], "tasks": [TASK]}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("released"), None, ALONE)
    write_root(project.folder / "release")
    table = project.folder / "config/tasks.csv"
    header = table.read_text().splitlines()[0]
    row = {"task": TASK, "cohorts": "hest_bench", "n_genes": "50", "released": "T"}
    table.write_text(table.read_text() + ",".join(row.get(name, "") for name in header.split(",")) + "\n")
    return project


def test_a_released_task_is_planned_alone_and_beside_our_own(project):
    taken = {"take_released": 3, "split_released": 1, "gather_released": 1, "embed_released": 3, "compare_released": 1}
    gathered = {"list_embeddings": 1, "fit_probe": 2, "fit_method": 2, "score_predictions": 1}
    assert project.planned() == {**taken, **gathered, "rank_predictors": 1, "draw_scaling": 1, "all": 1}
    project.configure({**CONFIG, "tasks": ["demo", TASK]})
    both = project.planned()
    assert (
        both.items() >= {**taken, "rank_predictors": 1, "make_splits": 1, "choose_genes": 1, "embed_patches": 3}.items()
    )
    # demo has three donors.
    assert [both[name] for name in gathered] == [2, 5, 5, 2]


def test_its_jobs_take_it_as_they_are_planned(project, monkeypatch):
    """The commands of the plan, run in this process."""
    monkeypatch.chdir(project.folder)
    targets = f"results/demo/benchmark/{TASK}/hest_exact/targets.h5"
    said = project.snakemake("--dry-run", "--printshellcmds", targets)
    commands = re.findall(r"python scripts/(\w+)\.py (.+?)(?: <<< (.+?))? > logs", said.stdout + said.stderr)
    assert sorted(name for name, *_ in commands) == ["gather_released", "split_released", *["take_released"] * 3]
    for name in ("take_released", "split_released", "gather_released"):
        script = importlib.import_module(name)
        for _, options, given in sorted(command for command in commands if command[0] == name):
            monkeypatch.setattr(sys, "stdin", io.StringIO(*shlex.split(given)))
            script.stage.run(script.work, shlex.split(options))
    splits = read_json(project.folder / f"results/demo/benchmark/{TASK}/splits.json")
    assert [fold["train"] for fold in splits["folds"]] == [["Z1", "A2"], ["M3"]]
    with Targets(project.folder / targets) as opened:
        assert opened.fold(1).genes == ["G2", "G1", "G3"]
        assert len(opened.spots("M3").names) == 11
