"""Builds shared by the tests of one file."""

import os

import pytest

# Before anything imports torch: its threads would wait for each other beside other workers, spinning.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from project import SMALL, Project
from real_data import DATA, NOT_HERE, SHARED


def pytest_make_parametrize_id(config, val, argname):
    """Bytes are named by their argument: a packed stream holds the time, and workers must collect the same names."""
    return argname if isinstance(val, bytes) else None


def pytest_terminal_summary(terminalreporter):
    """Says how many tests were not run for want of the real data: they must not vanish in silence."""
    reasons = [str(report.longrepr[2]) for report in terminalreporter.stats.get("skipped", []) if report.longrepr]
    absent = [reason.partition(NOT_HERE)[2].removeprefix(f"{SHARED}/") for reason in reasons if NOT_HERE in reason]
    if absent:
        what = (
            "../shared/data is not there" if not DATA.is_dir() else f"../shared lacks {', '.join(sorted(set(absent)))}"
        )
        terminalreporter.write_line(f"{len(absent)} real-data tests not run: {what}", yellow=True)


@pytest.fixture(scope="session")
def deposit(tmp_path_factory):
    return tmp_path_factory.mktemp("deposit") / "demo"


@pytest.fixture(scope="module")
def built(tmp_path_factory, deposit):
    project = Project(tmp_path_factory.mktemp("built"), deposit, SMALL)
    project.snakemake()
    return project
