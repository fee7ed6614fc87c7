"""A reader or a source is one file and one row; one that cannot be used is a fault of the tables, in one line."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TRY = """
import json, sys
sys.path.insert(0, "workflow")
import yaml
from pathlib import Path
from spotweave.errors import TableFaults
from spotweave.intake.layouts import assign
from spotweave.intake.recognise import recognise
from spotweave.onboard.accession import detect_source
from spotweave.plan import requests, tables

config = yaml.safe_load(Path("config/config.yaml").read_text())
config.update(cohorts=["new.csv"], tasks=[], recipes=[])
try:
    loaded = tables.load(config, Path.cwd())
except TableFaults as faults:
    print(json.dumps({"faults": faults.faults}))
    raise SystemExit
names = ["run/beads.tsv", "run/he.jpg", "notes.txt"]
print(json.dumps({
    "faults": [],
    "modules": requests.fetch_modules(loaded, "S1"),
    "limits": loaded.downloads_at_once,
    "recognised": recognise(names).reader,
    "roles": assign(names, "beads").roles,
    "detected": detect_source("BD0012"),
    "heavy": sorted({"numpy", "pandas", "requests", "anndata"} & set(sys.modules)),
}))
"""
READER = '''"""Beads: a table of counts by bead."""

from spotweave.deposits.naming import Layout, Look, Roles, TABLE, slide

LAYOUT = Layout(
    roles=Roles(needed=("counts", "image")),
    looks={"counts": (Look("table of beads", rf"beads{TABLE}"),), "image": slide()},
    signs=rf"/beads{TABLE}",
)


def read(files, *, member=None):
    """Read one section."""
    import numpy as np

    raise NotImplementedError(np)
'''
SOURCE = '''"""A depot of beads."""

import requests

ACCESSION = r"BD\\d{4}"
EXAMPLE = "BD0001"


def list_files(accession, settings):
    raise NotImplementedError(requests)


def fetch(wanted, folder, settings):
    raise NotImplementedError
'''


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with a reader and a source more: two files, two rows, and a sample that uses them."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("workflow", "resources", "config"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"))
    (folder / "workflow/spotweave/readers/beads.py").write_text(READER)
    (folder / "workflow/spotweave/sources/depot.py").write_text(SOURCE)
    with open(folder / "resources/technologies.csv", "a") as table:
        table.write("Beads,beads,,,,\n")
    with open(folder / "resources/sources.csv", "a") as table:
        table.write("depot,yes,bytes,2,\n")
    (folder / "new.csv").write_text(
        "sample_id,donor,dataset_title,technology,species,source,accession\nS1,A,T,Beads,Homo sapiens,depot,BD0012\n"
    )
    return folder


def tried(project: Path) -> dict:
    done = subprocess.run([sys.executable, "-c", TRY], cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_one_file_and_one_row_are_enough_for_each(project: Path) -> None:
    found = tried(project)
    assert found["faults"] == []
    assert found["modules"] == ["sources/depot", "readers/beads"]
    assert found["limits"]["depot"] == 2
    assert found["recognised"] == "beads"
    assert found["roles"] == {"counts": "run/beads.tsv", "image": "run/he.jpg"}
    assert found["detected"] == ["depot", "BD0012"]
    assert found["heavy"] == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("LAYOUT = ", "LAYOUTS = ", "no attribute 'LAYOUT'"),
        ("LAYOUT = Layout(", "LAYOUT = dict(", "it is no spotweave.deposits.naming.Layout"),
        ("LAYOUT = ", "LAYOUT = unknown + ", "name 'unknown' is not defined"),
        ("LAYOUT = ", "LAYOUT == = ", "invalid syntax"),
        ('"counts", "image"', '"counts"', "its needed roles lack 'image'"),
        ('"counts", "image"', '"counts", "image", "beads"', "no looks for beads"),
        ('"image": slide()', '"image": slide(), "x": ()', "looks for 'x', which is none of its roles"),
        ('rf"beads{TABLE}"', '"("', "'(' is no regular expression"),
        ('needed=("counts", "image")', 'needed=("counts", "image"), wanted=("spots",)', "'spots' is in 'either' or"),
    ],
)
def test_a_reader_without_a_usable_layout_is_one_fault_of_its_row(
    project: Path, old: str, new: str, expected: str
) -> None:
    path = project / "workflow/spotweave/readers/beads.py"
    assert old in READER
    path.write_text(READER.replace(old, new, 1))
    try:
        (fault,) = tried(project)["faults"]
    finally:
        path.write_text(READER)
    assert fault.startswith("resources/technologies.csv:6:reader: readers/beads.py")
    assert expected in fault
    assert "\n" not in fault


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('EXAMPLE = "BD0001"', 'EXAMPLE = "BD1"', "EXAMPLE that fits it"),
        ("EXAMPLE = ", "EXAMPLES = ", "EXAMPLE that fits it"),
        ("ACCESSION = r", "ACCESSION = f", "EXAMPLE that fits it"),
        ("BD\\d{4}", "BD(", "cannot be used"),
        ("import requests", "import", "cannot be used"),
    ],
)
def test_a_source_that_does_not_say_what_its_accessions_look_like_is_a_fault(
    project: Path, old: str, new: str, expected: str
) -> None:
    path = project / "workflow/spotweave/sources/depot.py"
    assert old in SOURCE
    path.write_text(SOURCE.replace(old, new, 1))
    try:
        (fault,) = tried(project)["faults"]
    finally:
        path.write_text(SOURCE)
    assert fault.partition(": ")[0].endswith("resources/sources.csv:16:source")
    assert expected in fault


def test_a_source_without_a_row_is_a_fault_of_the_sample_that_names_it(project: Path) -> None:
    table = project / "resources/sources.csv"
    text = table.read_text()
    table.write_text(text.replace("depot,yes,bytes,2,\n", ""))
    try:
        (fault,) = tried(project)["faults"]
    finally:
        table.write_text(text)
    assert fault == "new.csv:2:source: 'depot' has no row in resources/sources.csv; add one"
