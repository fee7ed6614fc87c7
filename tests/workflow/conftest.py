"""One finished build for all files and workers of a run: a test that starts from one copies it."""

import shutil

import pytest
from filelock import FileLock

from project import SMALL, Project

# Notes which files a script opens; Python loads it before anything else.
WATCH = """
import os, sys
script = (*sys.orig_argv, "", "")[1]
if script.startswith("scripts/"):
    import json, tempfile
    given = sys.stdin.buffer.read() if "--given" in sys.orig_argv else b"{}"  # options; put back for the script
    again = tempfile.TemporaryFile()
    again.write(given)
    again.seek(0)
    os.dup2(again.fileno(), 0)
    sys.stdin = open(0, closefd=False)
    log = os.open(os.path.join(os.path.dirname(__file__), f"{os.getpid()}.opened"), os.O_CREAT | os.O_WRONLY)
    os.write(log, json.dumps([sys.orig_argv, json.loads(given)]).encode() + b"\\n")
    def note(event, given):
        if event == "open" and isinstance(given[0], str):
            os.write(log, given[0].encode() + b"\\n")
    sys.addaudithook(note)
"""


@pytest.fixture(scope="session")
def finished(shared, deposit):
    """A finished build, through to a leaderboard, in which nothing is run or changed: see `Project.copy`.

    The first worker to ask builds it, the others wait. What its jobs opened is noted in its attribute `opened`.
    """
    folder, opened, done = shared / "finished", shared / "opened", shared / "finished.done"
    with FileLock(shared / "finished.lock"):
        if not done.exists():
            for left in (folder, opened):  # by a build that failed
                shutil.rmtree(left, ignore_errors=True)
                left.mkdir()
            (opened / "sitecustomize.py").write_text(WATCH)
            with pytest.MonkeyPatch.context() as patched:
                patched.setenv("PYTHONPATH", str(opened))
                Project(folder, deposit, SMALL).snakemake(own_process=True)  # as users run it
            done.touch()
    project = Project.at(folder, deposit)
    project.opened = opened
    return project


@pytest.fixture(scope="module")
def built(tmp_path_factory, finished):
    """A finished build that the tests of one file share; each leaves it as it was."""
    return finished.copy(tmp_path_factory.mktemp("built"))
