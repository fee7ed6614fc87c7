"""The tests themselves: real-data tests that are not run are counted, and every mutant of the list can be made."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mutants import catalogue

ROOT = Path(__file__).resolve().parents[2]
TESTS = """
import pytest
from real_data import needs_real, real

@needs_real("data", "a")
def test_one():
    raise AssertionError

@pytest.mark.parametrize("section", ["b", "c"])
def test_two(section):
    real("data", section)
    raise AssertionError

@pytest.mark.skip("for another reason")
def test_three(): ...

def test_four(): ...
"""


@pytest.mark.parametrize(
    ("folder", "workers", "line"),
    [
        ("", "1", "3 real-data tests not run: ../shared/data is not there"),
        ("shared/data", "0", "3 real-data tests not run: ../shared lacks data/a, data/b, data/c"),
    ],
)
def test_real_data_tests_that_are_not_run_are_counted(folder, workers, line, tmp_path):
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    (tmp_path / "test_some.py").write_text(TESTS)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "conftest",
        "-p",
        "no:cacheprovider",
        "-n",
        workers,
        "-o",
        "addopts=",
    ]
    done = subprocess.run(
        [*command, "--rootdir", str(tmp_path), str(tmp_path / "test_some.py")],
        cwd=tmp_path,
        env={
            **os.environ,
            "SPOTWEAVE_SHARED": str(tmp_path / "shared"),
            "PYTHONPATH": os.pathsep.join(str(ROOT / name) for name in ("tests", "workflow", "scripts")),
        },
        capture_output=True,
        check=False,
        text=True,
    )
    assert line in done.stdout.splitlines(), done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_every_mutant_of_the_list_can_be_made():
    """Its text is in the module once, what comes of it is Python, and the tests that should notice it are there."""
    mutants = catalogue.read()
    assert len(mutants) >= 80
    assert len({(mutant.module, mutant.old, mutant.new) for mutant in mutants}) == len(mutants)
    faults = []
    for mutant in mutants:
        try:
            mutant.mutated()
        except ValueError as error:
            faults.append(str(error))
        tests = [*mutant.tests, *filter(None, [mutant.killed_by.partition("::")[0]])]
        faults += [
            f"mutant {mutant.number}: no {name}" for name in tests if not (ROOT / catalogue.in_tree(name)).is_file()
        ]
    assert not faults, "\n".join(faults)
