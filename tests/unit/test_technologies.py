"""After placing, all technologies look alike: who may know which technology a sample is of, read in the source."""

import ast
import csv
from pathlib import Path

import pytest
import yaml

from spotweave.codehash import closure
from spotweave.errors import TableFaults
from spotweave.placing import PLACINGS
from spotweave.plan import tables
from spotweave.pooling import POOLINGS
from spotweave.registry import Registry

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "workflow/spotweave"
with open(ROOT / "resources/technologies.csv", newline="") as handle:
    ROWS = list(csv.DictReader(handle))
READERS = {row["reader"] for row in ROWS}
NAMES = READERS | {row["technology"] for row in ROWS}
# Before placing a sample's technology says how its files are found, read and placed; simulators write such files.
BEFORE = {"sources", "intake", "readers", "onboard", "simulate", "placing", "pooling", "register"}
BEFORE |= {"visium", "visium_hd", "xenium"}
# A layout of others, whose folders are called after technologies.
BEFORE |= {"stimage"}
# Holds the words of a row against each other and against what was measured; its technology is one of them.
OF_WORDS = {LIBRARY / "dataset/contradictions.py"}


def later():
    """Modules of the library, scripts and rules that come after placing, or go for every stage."""
    modules = [
        path
        for path in sorted(LIBRARY.rglob("*.py"))
        if path.relative_to(LIBRARY).parts[0] not in BEFORE and path not in OF_WORDS
    ]
    return [*modules, *sorted((ROOT / "scripts").glob("*.py"))]


@pytest.mark.parametrize("path", later(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_later_module_names_a_technology_or_a_reader(path):
    tree = ast.parse(path.read_bytes())
    named = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    assert not named & NAMES
    imported = {f"{node.module}." for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    readers = tuple(f"spotweave.readers.{reader}." for reader in READERS)
    assert not [name for name in imported if name.startswith(readers)]


@pytest.mark.parametrize("path", sorted((ROOT / "workflow/rules").glob("*.smk")), ids=lambda path: path.stem)
def test_no_rule_names_a_technology_or_a_reader(path):
    text = path.read_text()
    assert not [name for name in NAMES if f'"{name}"' in text or f"'{name}'" in text]


def test_every_technology_names_entries_that_there_are():
    readers = Registry("readers", "reader")
    for row in ROWS:
        assert readers.fault(row["reader"]) is PLACINGS.fault(row["placing"]) is POOLINGS.fault(row["pooling"]) is None
    assert {row["technology"] for row in ROWS if row["fiducial_frame"] == "yes"} == {"Visium"}
    assert {row["reader"]: row["placing"] for row in ROWS} == {
        "st_v1": "lattice",
        "visium": "lattice",
        "visium_hd": "transform",
        "xenium": "registration",
    }


def test_a_way_is_hashed_with_the_jobs_that_use_it_and_no_others():
    align = ROOT / "scripts/align_array.py"
    by_lattice = set(closure(ROOT / "workflow", align, LIBRARY / "placing/lattice.py"))
    assert {LIBRARY / "placing/__init__.py", LIBRARY / "align/agreement.py"} <= by_lattice
    assert not {LIBRARY / "placing/transform.py", LIBRARY / "placing/registration.py"} & by_lattice
    by_registration = set(closure(ROOT / "workflow", align, LIBRARY / "placing/registration.py"))
    assert not {LIBRARY / "align/agreement.py", LIBRARY / "align/offset.py"} & by_registration


def test_a_way_that_is_none_is_told_before_anything_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    path = tmp_path / "technologies.csv"
    path.write_text((ROOT / "resources/technologies.csv").read_text().replace("lattice,none", "latice,nine", 1))
    config = yaml.safe_load((ROOT / "config/config.yaml").read_text()) | {"technologies_table": str(path)}
    with pytest.raises(TableFaults) as faults:
        tables.load(config, ROOT)
    told = str(faults.value)
    assert f"{path}:2:placing: 'latice' is no way of placing, did you mean 'lattice'?" in told
    assert f"{path}:2:pooling: 'nine' is no way of pooling, did you mean 'none'?" in told
