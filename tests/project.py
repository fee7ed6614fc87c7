"""A copy of the project's tree in which tests run Snakemake."""

from __future__ import annotations

import atexit
import contextlib
import csv
import functools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from spotweave.simulate.deposit import serve
from spotweave.simulate.serving import MIRRORS, PUBLISHERS

ROOT = Path(__file__).resolve().parents[1]
TREE = ("Snakefile", "config", "workflow", "scripts", "envs", "resources", "profiles")
# Small but through every stage: one encoder without weights, one protocol.
SMALL = {
    "dataset": "demo",
    "cohorts": ["config/cohorts/demo.csv"],
    "encoders": ["handcrafted"],
    "tasks": ["demo"],
    "recipes": [],
    "protocols": ["strict"],
    "methods": ["mean_expression"],
    "nuclei": [],
}


@functools.cache
def _planner() -> subprocess.Popen[str]:
    """The process that forks Snakemake for this one; it ends with it, as its input does."""
    command = [sys.executable, str(ROOT / "tests/planner.py")]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@functools.cache
def _mirrors(deposit: Path) -> str:
    """Where this process serves a deposit, as long as it lives, in place of the publishers."""
    served = contextlib.ExitStack()
    atexit.register(served.close)
    url = served.enter_context(serve(deposit))
    return " ".join(f"{publisher}={url}" for publisher in PUBLISHERS)


def plan(folder: Path, *arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """What `snakemake --dry-run` says in a folder, without importing it anew."""
    return _forked(folder, "--dry-run", *arguments, environment=environment)


def _forked(folder: Path, *arguments: str, environment: dict[str, str] | None) -> subprocess.CompletedProcess[str]:
    planner = _planner()
    assert planner.stdin and planner.stdout
    with tempfile.TemporaryDirectory() as said:
        files = {name: str(Path(said, name)) for name in ("stdout", "stderr")}
        request = {"folder": str(folder), "environment": environment or dict(os.environ)}
        request |= {"arguments": arguments, **files}
        planner.stdin.write(json.dumps(request) + "\n")
        planner.stdin.flush()
        code = int(planner.stdout.readline())
        return subprocess.CompletedProcess(
            arguments, code, *(Path(path).read_text(encoding="utf-8") for path in files.values())
        )


class Project:
    """One copy of the project's tree."""

    def __init__(self, folder: Path, deposit: Path, config: dict) -> None:
        self.folder, self.deposit = folder, deposit
        for name in TREE:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
            copy(ROOT / name, folder / name)
        self.configure(config)

    def configure(self, config: dict) -> None:
        (self.folder / "config/try.yaml").write_text(yaml.safe_dump(config))

    @classmethod
    def at(cls, folder: Path, deposit: Path) -> Project:
        """A project that is there already."""
        project = cls.__new__(cls)
        project.folder, project.deposit = folder, deposit
        return project

    def copy(self, folder: Path) -> Project:
        """A copy to run in and to spoil; times, links and what Snakemake knows go along: what is finished stays so."""
        subprocess.run(["cp", "-a", f"{self.folder}/.", str(folder)], check=True)
        return self.at(folder, self.deposit)

    def snakemake(
        self, *arguments: str, check: bool = True, own_process: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Run it, or plan; in a fork of a process that has imported it, or as a user does, in a process of its own."""
        arguments = (*arguments, "--cores", "2", "--configfile", "config/try.yaml")
        arguments += ("--scheduler", "greedy")  # as in the profiles: the other one runs a solver for every choice
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"}
        if "--dry-run" not in arguments:  # planning fetches nothing
            environment[MIRRORS] = _mirrors(self.deposit)
        if own_process:
            command = [sys.executable, "-m", "snakemake", *arguments]
            done = subprocess.run(
                command, cwd=self.folder, capture_output=True, text=True, env=environment, check=False
            )
        else:
            done = _forked(self.folder, *arguments, environment=environment)
        if check and done.returncode != 0:
            logs = "\n".join(path.read_text()[-2000:] for path in (self.folder / "logs").rglob("*.log"))
            raise AssertionError(f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}\n{logs[-8000:]}")
        return done

    def planned(self, *arguments: str) -> dict[str, int]:
        """Rule -> number of jobs that a dry run announces."""
        done = self.snakemake("--dry-run", "--quiet", "host", *arguments)
        table = (done.stdout + done.stderr).partition("Job stats:")[2].partition("total")[0]
        return {match[1]: int(match[2]) for match in re.finditer(r"^(\w+)\s+(\d+)\s*$", table, re.MULTILINE)}

    @property
    def results(self) -> Path:
        return self.folder / "results/demo"

    def rows(self, name: str) -> list[dict[str, str]]:
        with open(self.results / name, newline="") as handle:
            return list(csv.DictReader(handle))
