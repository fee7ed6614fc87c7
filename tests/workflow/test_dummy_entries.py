"""What a new entry costs, for every registry: the files touched, and the jobs that a finished build runs again.

Each case adds an entry to a copy of the project by the words of its page in `docs/`, with the page's own example where
it has one: one file, and one row of a table or one line of the configuration.
"""

from __future__ import annotations

import csv
import hashlib
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from project import ROOT, SMALL, TREE, Project
from spotweave.io import is_refused

SCORES = {"score_predictions": 1, "rank_predictors": 1, "draw_scaling": 1, "all": 1}
PREDICTIONS = {"fit_probe": 3, **SCORES}


def of_page(name: str) -> str:
    """The example of a page: its first block of Python, word by word."""
    found = re.search(
        r"^```python\n(.*?)^```$", (ROOT / "docs" / name).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    assert found, f"docs/{name} has no example"
    return found[1]


PROBE = '''
"""The training median."""

import numpy as np


class Median:
    details = {}

    def __init__(self, median):
        self.median = median

    def predict(self, features):
        return np.tile(self.median, (len(features), 1))


def fit(training, choices, seed):
    return Median(np.median(training.target, axis=0))
'''

PROTOCOL = '''
"""As strict, with samples of any size."""

from dataclasses import replace

from spotweave.protocols.strict import PROTOCOL as STRICT

PROTOCOL = replace(STRICT, min_spots=2)
'''

METRIC = '''
"""Largest error of a fold."""

import numpy as np

COLUMNS = ("worst_error",)


def score(scored):
    return np.array(np.nanmax(np.abs(scored.truth - scored.prediction)))


def summarise(folds):
    return {"worst_error": float(max(folds))}
'''

# What a sample more runs, whatever read or brought it, where no task has it.
SAMPLE = {
    **dict.fromkeys(("fetch_sample", "read_expression", "align_array", "build_pyramid", "segment_tissue"), 1),
    **dict.fromkeys(("assemble_sample", "extract_patches", "describe_sample", "fingerprint_sample"), 1),
    **dict.fromkeys(("assemble_cohort", "assemble_dataset", "summarise_quality", "audit_identity", "all"), 1),
}
NEW_COHORT = "sample_id,donor,dataset_title,technology,species,source,accession\nnew-1,A,T,{},Homo sapiens,{},{}\n"


PLACING = '''
"""Where the reader says."""

LIMITS = ("residual_max_um",)


def place(deposit):
    raise NotImplementedError
'''

# Cells of a row of technologies.csv, but for what each case brings of its own.
PLACED = {"reader": "st_v1", "placing": "lattice", "pooling": "none", "fiducial_frame": "no"}


@dataclass(frozen=True)
class Case:
    """One entry: the page that tells how to add it, its one file, its row or configuration, and what then runs.

    `row` is (table, cells by column); `planned` are the jobs that a finished build runs when the entry is chosen:
    in the configuration, or by the user's own table `cohort`. `made` are files of the results that are made for it.
    """

    page: str
    file: str
    content: str
    planned: dict[str, int]
    row: tuple[str, dict[str, str]] | None = None
    config: dict[str, Any] = field(default_factory=dict)
    made: tuple[str, ...] = ()
    cohort: str = ""

    def add(self, project: Project) -> None:
        """Do what the page says."""
        path = project.folder / self.file
        assert not path.exists()
        path.write_text(self.content)
        if self.row is not None:
            add_row(project.folder / self.row[0], self.row[1])


def add_row(path: Path, cells: dict[str, str]) -> None:
    """One more row of a table; columns that it has not yet come behind its last."""
    with open(path, newline="", encoding="utf-8") as handle:
        header, *rows = csv.reader(handle)
    header += [name for name in cells if name not in header]
    rows.append([cells.get(name, "") for name in header])
    with open(path, "w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerows([header, *([*row, *[""] * (len(header) - len(row))] for row in rows)])


CASES = {
    "tissue method": Case(
        "adding-a-tissue-method.md",
        "workflow/spotweave/tissue/methods/stained.py",
        of_page("adding-a-tissue-method.md"),
        {
            **dict.fromkeys(("segment_tissue", "assemble_sample", "extract_patches", "describe_sample"), 3),
            **dict.fromkeys(("assemble_cohort", "assemble_dataset", "summarise_quality", "make_splits"), 1),
            **{"embed_patches": 3, "list_embeddings": 1, "choose_genes": 1, "fit_method": 3, **PREDICTIONS},
        },
        config={"tissue": {"method": "stained"}},
        made=("samples/demo-a1/tissue.geojson",),
    ),
    "nuclei method": Case(
        "adding-a-nuclei-method.md",
        "workflow/spotweave/nuclei/methods/dark.py",
        of_page("adding-a-nuclei-method.md"),
        {
            **dict.fromkeys(("segment_nuclei", "count_nuclei", "measure_spots", "explore_biomarkers"), 3),
            "describe_sample": 3,
            **dict.fromkeys(("assemble_cohort", "assemble_dataset", "summarise_quality", "all"), 1),
        },
        row=(
            "config/nuclei.csv",
            {"nuclei": "dark", "method": "dark", "weights": "none", "um_per_px": "0.5", "gpu": "0"},
        ),
        config={"nuclei": ["dark"]},
    ),
    "encoder builder": Case(
        "adding-an-encoder.md",
        "workflow/spotweave/encoders/mean_colour.py",
        of_page("adding-an-encoder.md"),
        {"embed_patches": 3, "list_embeddings": 1, **PREDICTIONS},
        row=(
            "config/encoders.csv",
            {
                **{"encoder": "mean-colour", "builder": "mean_colour", "weights": "none", "dim": "3"},
                **{"input_px": "224", "resize": "none", "dtype": "float32", "gated": "no", "gpu": "0"},
            },
        ),
        config={"encoders": ["handcrafted", "mean-colour"]},
        made=("samples/demo-a1/embeddings/mean-colour.h5",),
    ),
    "recipe kind": Case(
        "adding-a-recipe.md",
        "workflow/spotweave/recipes/projection.py",
        of_page("adding-a-recipe.md"),
        {
            **{"finetune_encoder": 3, "embed_patches": 6, "list_embeddings": 2, "evaluate_recipe": 1},
            **{**PREDICTIONS, "fit_probe": 6},
        },
        row=(
            "config/recipes.csv",
            {
                **{"recipe": "projected", "kind": "projection", "task": "demo"},
                **{"base_encoder": "resnet-tiny-random", "projected_dim": "8"},
            },
        ),
        config={"recipes": ["projected"]},
        made=("finetune/projected/fold0.safetensors",),
    ),
    "probe": Case(
        "adding-a-probe.md",
        "workflow/spotweave/probes/median.py",
        PROBE,
        PREDICTIONS,
        config={"probes": ["ridge", "median"]},
        made=("predictions/demo/strict/handcrafted+median/fold0.h5",),
    ),
    "method": Case(
        "adding-a-method.md",
        "workflow/spotweave/methods/colour.py",
        of_page("adding-a-method.md"),
        {"fit_method": 3, **SCORES},
        row=("config/methods.csv", {"method": "colour", "kind": "colour", "gpu": "0"}),
        config={"methods": ["mean_expression", "colour"]},
        made=("predictions/demo/strict/colour/fold0.h5",),
    ),
    "way of splitting": Case(
        "adding-a-way-of-splitting.md",
        "workflow/spotweave/splitting/first.py",
        of_page("adding-a-way-of-splitting.md"),
        {"make_splits": 1, "choose_genes": 1, "list_embeddings": 1, "fit_probe": 1, "fit_method": 1, **SCORES},
        row=("config/tasks.csv", {"task": "first", "cohorts": "demo", "n_genes": "50", "split": "first"}),
        config={"tasks": ["demo", "first"]},
        made=("predictions/first/strict/handcrafted+ridge/fold0.h5",),
    ),
    "protocol": Case(
        "adding-a-protocol.md",
        "workflow/spotweave/protocols/any_size.py",
        PROTOCOL,
        {"choose_genes": 1, "fit_method": 3, **PREDICTIONS},
        config={"protocols": ["strict", "any_size"]},
    ),
    "metric": Case(
        "adding-a-metric.md",
        "workflow/spotweave/metrics/worst_error.py",
        METRIC,
        SCORES,
        config={"metrics": ["pearson", "pearson_null95", "undefined_share", "worst_error"]},
        made=("benchmark/demo/strict/scores.parquet",),
    ),
    "correction of batch effects": Case(
        "adding-a-batch-correction.md",
        "workflow/spotweave/batch/corrections/centred.py",
        of_page("adding-a-batch-correction.md"),
        {"explore_batches": 1, "all": 1},
        config={"batches": {"genes": ["SIMH001", "SIMH002"], "labels": ["donor"], "corrections": ["centred"]}},
        made=("batches/scores.csv", "batches/umap.png"),
    ),
    "reader": Case(
        "adding-a-reader.md",
        "workflow/spotweave/readers/beads.py",
        of_page("adding-a-reader.md"),
        SAMPLE,
        row=("resources/technologies.csv", {**PLACED, "technology": "Beads", "reader": "beads"}),
        cohort=NEW_COHORT.format("Beads", "zenodo", "7760264"),
    ),
    "way of placing": Case(
        "adding-a-technology.md",
        "workflow/spotweave/placing/as_filed.py",
        PLACING,
        SAMPLE,
        row=("resources/technologies.csv", {**PLACED, "technology": "Filed", "placing": "as_filed"}),
        cohort=NEW_COHORT.format("Filed", "zenodo", "7760264"),
    ),
    "way of pooling": Case(
        "adding-a-technology.md",
        "workflow/spotweave/pooling/first.py",
        of_page("adding-a-technology.md"),
        SAMPLE,
        row=("resources/technologies.csv", {**PLACED, "technology": "One spot", "pooling": "first"}),
        cohort=NEW_COHORT.format("One spot", "zenodo", "7760264"),
    ),
    "source": Case(
        "adding-a-source.md",
        "workflow/spotweave/sources/depot.py",
        of_page("adding-a-source.md"),
        SAMPLE,
        row=("resources/sources.csv", {"source": "depot", "lists": "yes", "checksum": "bytes"}),
        cohort=NEW_COHORT.format("Spatial Transcriptomics", "depot", "BD0012"),
    ),
}


def contents(project: Project) -> dict[str, str]:
    """Hash of every file of the project's tree, by path."""
    paths = [path for name in TREE for path in (project.folder / name, *(project.folder / name).rglob("*"))]
    return {
        str(path.relative_to(project.folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in paths
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture(scope="module")
def entered(tmp_path_factory, finished):
    """A finished build to which every entry was added, and none chosen; and the files that each touched."""
    project = finished.copy(tmp_path_factory.mktemp("entered"))
    touched: dict[str, set[str]] = {}
    for name, case in CASES.items():
        before = contents(project)
        case.add(project)
        after = contents(project)
        touched[name] = {path for path in after if before.get(path) != after[path]}
    return project, touched


def choose(project: Project, *cases: Case) -> Project:
    """Name entries in the user's own configuration and table."""
    config = {**SMALL, **{key: value for case in cases for key, value in case.config.items()}}
    for case in cases:
        if case.cohort:
            (project.folder / "new.csv").write_text(case.cohort)
            config["cohorts"] = [*SMALL["cohorts"], "new.csv"]
    project.configure(config)
    return project


@pytest.fixture
def chosen(entered):
    """Choose entries; afterwards none is."""
    project, _ = entered
    yield lambda *cases: choose(project, *cases)
    project.configure(SMALL)


@pytest.mark.parametrize("name", CASES)
def test_an_entry_is_one_file_and_one_row(entered, name):
    """Or one file, and its name in the configuration."""
    case = CASES[name]
    assert entered[1][name] == {case.file, *([case.row[0]] if case.row else [])}


@pytest.mark.parametrize("name", CASES)
def test_its_page_names_the_file_and_what_else_it_takes(name):
    case = CASES[name]
    page = (ROOT / "docs" / case.page).read_text(encoding="utf-8")
    assert f"`{Path(case.file).parent}/" in page
    assert case.row is None or f"`{case.row[0]}`" in page
    assert all(f"`{key}:" in page for key in case.config), f"{sorted(case.config)} as a key of the configuration"


def test_entries_that_nothing_names_run_nothing(entered):
    assert entered[0].planned() == {}


@pytest.mark.parametrize("name", CASES)
def test_what_runs_is_what_the_entry_has_to_do(chosen, name):
    assert chosen(CASES[name]).planned() == CASES[name].planned


@pytest.mark.parametrize(
    "names",
    [
        ("tissue method",),
        ("encoder builder", "recipe kind", "method"),
        ("probe", "metric", "correction of batch effects"),
    ],
    ids=" and ".join,
)
def test_they_run(entered, tmp_path, names):
    """Some jobs of each, under their rules, in a copy."""
    project = entered[0].copy(tmp_path)
    choose(project, *(CASES[name] for name in names))
    files = [f"results/demo/{path}" for name in names for path in CASES[name].made]
    times = {path: (project.folder / path).exists() and (project.folder / path).stat().st_mtime_ns for path in files}
    project.snakemake(*files)
    for path, before in times.items():
        assert (project.folder / path).stat().st_mtime_ns > before
        assert not is_refused(project.folder / path)


def test_jobs_run_in_the_environment_of_their_row(chosen, tmp_path, monkeypatch):
    """Where conda is; here a stand-in that only says it is there, as nothing is run."""
    said = {"version": "conda 24.9.2", "info": '{"conda_prefix": "/", "platform": "linux-64"}'}
    said["config"] = '{"get": {"channel_priority": "strict"}}'
    cases = "\n".join(f"  *{word}*) echo '{text}' ;;" for word, text in said.items())
    (tmp_path / "conda").write_text(f'#!/bin/sh\ncase "$*" in\n{cases}\nesac\n')
    (tmp_path / "conda").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    project = chosen(CASES["encoder builder"])
    table = project.folder / "config/encoders.csv"
    before = table.read_text()
    (project.folder / "envs/special.yaml").write_text("channels: [conda-forge]\ndependencies: [python=3.11]\n")
    try:
        with open(table, newline="") as handle:
            header, *rows = csv.reader(handle)
        rows[-1][header.index("env")] = "special"
        with open(table, "w", newline="") as handle:
            csv.writer(handle, lineterminator="\n").writerows([header, *rows])
        done = project.snakemake("--dry-run", "--sdm", "conda")
    finally:
        table.write_text(before)
    assert set(re.findall(r"envs/(\w+)\.yaml will be created", done.stdout + done.stderr)) == {
        "special",
        "core",
        "torch",
    }
