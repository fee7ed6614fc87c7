"""A reader or a source is one file and one row, as its page shows; one that cannot be used is one fault of its row."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from faults.fault_server import FaultServer

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
BRING = """
import json, sys
sys.path.insert(0, "workflow")
from pathlib import Path
from spotweave.intake.ingest import ingest
from spotweave.intake.request import Request
from spotweave.transfer.files import FetchSettings

got = ingest(Request("S1", "beads", "depot", accession="BD0012"), Path("raw"), FetchSettings(attempts=1))
print(json.dumps({one.role: one.location for one in got.files}))
"""


def example_of(page: str) -> str:
    """The code that a page of the documentation shows."""
    return (ROOT / "docs" / page).read_text(encoding="utf-8").partition("```python\n")[2].partition("```")[0]


READER = example_of("adding-a-reader.md")
SOURCE = example_of("adding-a-source.md")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with a reader and a source more: two files, two rows, and a sample that uses them."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("workflow", "resources", "config", "envs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"))
    (folder / "workflow/spotweave/readers/beads.py").write_text(READER)
    (folder / "workflow/spotweave/sources/depot.py").write_text(SOURCE)
    with open(folder / "resources/technologies.csv", "a") as table:
        table.write("Beads,beads,lattice,none,no,,,,\n")
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
        ('optional=("spots",)', 'optional=("spots", "beads")', "no looks for beads"),
        ('"image": slide()', '"image": slide(), "x": ()', "looks for 'x', which is none of its roles"),
        ('rf"beads[^/]*{TABLE}"', '"("', "'(' is no regular expression"),
        ('optional=("spots",)', 'optional=("spots",), wanted=("places",)', "'places' is in 'either' or"),
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
        ('EXAMPLE = "BD0012"', 'EXAMPLE = "BD1"', "EXAMPLE that fits it"),
        ("EXAMPLE = ", "EXAMPLES = ", "EXAMPLE that fits it"),
        ("ACCESSION = r", "ACCESSION = f", "EXAMPLE that fits it"),
        ("BD\\d{4}", "BD(", "cannot be used"),
        ("import Located", "import", "cannot be used"),
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


def test_the_pages_source_and_reader_bring_the_files_of_a_deposit(project: Path) -> None:
    """Through the intake, from a server that stands for the one of the page."""
    files = {"beads_A1.tsv": b"counts\n", "places_A1.tsv": b"places\n", "A1_he.jpg": b"\xff\xd8\xff picture \xff\xd9"}
    with FaultServer() as server:
        listing = {"files": {name: len(content) for name, content in files.items()}}
        server.put("BD0012", json.dumps(listing).encode())
        for name, content in files.items():
            server.put(f"BD0012/{name}", content)
        environment = {**os.environ, "SPOTWEAVE_MIRRORS": f"https://depot.example/={server.address}/"}
        done = subprocess.run(
            [sys.executable, "-c", BRING], cwd=project, env=environment, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr
    places = {"counts": "beads_A1.tsv", "spots": "places_A1.tsv", "image": "A1_he.jpg"}
    assert json.loads(done.stdout) == {role: f"depot:BD0012/{name}" for role, name in places.items()}
