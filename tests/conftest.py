"""What the workers of a run share, and what is said at its end."""

import os
import subprocess
import sys

import pytest
from filelock import FileLock

# Before anything imports torch: its threads would wait for each other beside other workers, spinning.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# numba sets the number of threads of the OpenMP library that torch shares: all later trainings would spin as well.
os.environ.setdefault("NUMBA_NUM_THREADS", "1")
# What numba compiles here runs for a moment, and the compiler's second thoughts cost a third of a UMAP.
os.environ.setdefault("NUMBA_OPT", "0")

from project import ROOT
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
def shared(tmp_path_factory):
    """A folder that all workers of this run share."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def deposit(shared):
    """The demo deposit: the first worker to ask makes it, the others wait."""
    folder = shared / "demo"
    with FileLock(shared / "demo.lock"):
        subprocess.run(
            [sys.executable, str(ROOT / "scripts/serve_demo.py"), "--folder", str(folder), "--", "true"],
            capture_output=True,
            check=True,
        )
    return folder
