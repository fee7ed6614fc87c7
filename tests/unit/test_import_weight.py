"""No job imports what it does not use: importing some packages costs more CPU than most jobs do."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from job_imports import HEAVY, JOBS

ROOT = Path(__file__).resolve().parents[2]
# One interpreter for all: a child for each job imports what that needs and no other has. The first do without numpy.
EACH_ALONE = """
import json, os, sys
jobs, heavy = json.load(sys.stdin)
for without_numpy in (True, False):
    for job, (lines, needs_numpy) in jobs.items():
        if needs_numpy == without_numpy:
            continue
        if os.fork() == 0:
            exec("\\n".join(lines), {})
            print(json.dumps([job, sorted(set(heavy) & set(sys.modules))]), flush=True)
            os._exit(0)
        if os.wait()[1]:
            sys.exit(job)
    import numpy
"""


def work_imports(script: Path) -> list[str]:
    """The lines by which a script imports from the library, at its top or within its work."""
    nodes = ast.walk(ast.parse(script.read_bytes()))
    return [
        ast.unparse(node)
        for node in nodes
        if isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] in ("_stage", "spotweave")
    ]


@pytest.fixture(scope="module")
def imported() -> dict[str, set[str]]:
    """Job -> heavy modules that it has imported before it begins with its work."""
    wanted = {
        job: (
            [*work_imports(ROOT / f"scripts/{job}.py"), *(f"import spotweave.{entry}" for entry in entries)],
            "numpy" in allowed,
        )
        for job, (entries, allowed) in JOBS.items()
    }
    path = os.pathsep.join(str(ROOT / folder) for folder in ("scripts", "workflow"))
    done = subprocess.run(
        [sys.executable, "-c", EACH_ALONE],
        input=json.dumps([wanted, sorted(HEAVY)]),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert done.returncode == 0, done.stderr
    return {job: set(found) for job, found in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("job", JOBS)
def test_no_job_imports_what_it_does_not_use(imported, job):
    assert imported[job] <= JOBS[job][1]


def test_the_tables_of_jobs_and_of_weights_are_not_empty_words(imported):
    # What nothing imports shows that the measurement works: packages that jobs do use are seen.
    assert {"anndata", "matplotlib", "pandas"} <= imported["assemble_sample"]
    assert "numpy" not in imported["describe_sample"]
