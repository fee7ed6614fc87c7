"""Put every mutant of the list into a copy of the tree, run its tests, and say which survive.

    python tests/mutants/run.py [--only REGEX] [--jobs N] [--out TABLE.csv]

The working tree is never touched. One process imports the heavy libraries once and forks for every run of pytest;
each has so much processor time (`--seconds`), after which the mutant hangs and counts as killed. A test that kills
is run once on the unchanged copy too: one that fails anyway kills nothing.
"""

from __future__ import annotations

import argparse
import compileall
import contextlib
import csv
import importlib
import os
import py_compile
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from catalogue import LIBRARY, ROOT, Mutant, in_tree, read

TREE = ("Snakefile", "config", "docs", "envs", "profiles", "pyproject.toml", "README.md", "resources", "scripts")
TREE += ("slurm", "tests", "workflow", "Makefile")
# Imported before forking: what most tests need and what starts no threads of its own.
HEAVY = ("numpy", "scipy.sparse", "scipy.ndimage", "pandas", "anndata", "h5py", "shapely", "sklearn.linear_model")
HEAVY += ("scanpy", "skimage.filters", "skimage.segmentation", "skimage.measure", "torch", "pyarrow", "requests")
HEAVY += ("hypothesis", "pytest", "tenacity", "jsonschema", "yaml", "cv2", "PIL.Image", "tqdm", "matplotlib")
OK, FAILED, INTERRUPTED, NOTHING_THERE = 0, 1, 2, (4, 5)
LONGEST_WAIT_S = 1200


@dataclass(frozen=True)
class Ran:
    """One run of pytest: its exit status (negative: killed by that signal), and the first test that failed."""

    status: int
    failed: str
    output: str


@dataclass
class Worker:
    """A copy of the tree, and the run that goes on in it."""

    tree: Path
    pid: int = 0
    started: float = 0.0

    @property
    def log(self) -> Path:
        return self.tree.parent / "log.txt"

    def start(self, targets: list[str], seconds: int) -> None:
        """Fork a run of pytest in the copy."""
        self.started = time.monotonic()
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            _run_pytest(self.tree, self.log, targets, seconds)

    def poll(self) -> Ran | None:
        """What came of the run; None while it goes on."""
        done, status, _ = os.wait4(self.pid, os.WNOHANG)
        if not done:
            if time.monotonic() - self.started > LONGEST_WAIT_S:  # it sleeps: processor time never ends it
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.pid, signal.SIGKILL)
            return None
        output = self.log.read_text(errors="replace")
        failed = re.search(r"^(?:FAILED|ERROR) tests/(?:unit/)?([^\s\[]+)", output, re.MULTILINE)
        return Ran(os.waitstatus_to_exitcode(status), failed[1] if failed else "", output)


def _run_pytest(tree: Path, log: Path, targets: list[str], seconds: int) -> None:
    """In the forked process: never returns."""
    status = 3
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for number in (1, 2):
            os.dup2(out, number)
        os.chdir(tree)
        import pytest

        options = ["-x", "-q", "-p", "no:xdist", "-p", "no:cacheprovider", "--tb=line"]
        status = int(pytest.main([*options, *targets]))
    finally:
        sys.stdout.flush()
        os._exit(status)


def copy_tree(folder: Path, number: int) -> Worker:
    """A copy of the tree, compiled so that a changed text is never mistaken for an old one."""
    tree = folder / str(number) / "tree"
    tree.mkdir(parents=True)
    ignored = shutil.ignore_patterns("__pycache__", ".pytest_cache")
    for name in TREE:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=ignored)
        elif (ROOT / name).is_file():
            shutil.copy2(ROOT / name, tree / name)
    shared = ROOT.parent / "shared"
    if shared.exists():
        (tree.parent / "shared").symlink_to(shared.resolve())
    compileall.compile_dir(tree / LIBRARY, quiet=2, invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH)
    return Worker(tree)


def judge(worker: Worker, mutant: Mutant, seconds: int, sound: set[str]) -> Iterator[tuple[str, str] | None]:
    """Run a mutant's tests; yields None while they run, at last (`killed` or `survived`, by what).

    `sound` are the tests known to pass without any mutant; one that kills is run so once.
    """
    path = worker.tree / LIBRARY / mutant.module
    original = path.read_text(encoding="utf-8")
    result = ("survived", "")
    path.write_text(mutant.mutated(worker.tree), encoding="utf-8")
    try:
        for targets in mutant.targets:
            worker.start(targets, seconds)
            while (ran := worker.poll()) is None:
                yield None
            if ran.status in (FAILED, INTERRUPTED):
                result = ("killed", ran.failed or "collection")
            elif ran.status < 0:
                result = ("killed", "time")
            elif ran.status not in (OK, *NOTHING_THERE):
                sys.exit(f"mutant {mutant.number}: pytest ended with {ran.status}\n{ran.output[-3000:]}")
            if result[0] == "killed":
                break
    finally:
        path.write_text(original, encoding="utf-8")
    test = result[1]
    if "::" in test and test not in sound:
        worker.start([in_tree(test)], seconds)
        while (ran := worker.poll()) is None:
            yield None
        if ran.status != OK:
            sys.exit(f"{ran.output[-3000:]}\n{test} fails without any mutant, so it kills none")
        sound.add(test)
    yield result


def run(mutants: list[Mutant], workers: list[Worker], seconds: int) -> dict[int, tuple[str, str]]:
    """Judge all, as many at a time as there are workers."""
    left = list(reversed(mutants))
    going: dict[int, tuple[Mutant, Iterator[tuple[str, str] | None]]] = {}
    results: dict[int, tuple[str, str]] = {}
    sound: set[str] = set()
    while left or going:
        for number, worker in enumerate(workers):
            if number not in going and left:
                mutant = left.pop()
                going[number] = (mutant, judge(worker, mutant, seconds, sound))
            if number in going:
                mutant, steps = going[number]
                result = next(steps)
                if result:
                    results[mutant.number] = result
                    next(steps, None)
                    del going[number]
                    print(f"{mutant.number:4d} {result[0]:9s} {mutant.module:28s} {mutant.bug} {result[1]}", flush=True)
        time.sleep(0.05)
    return results


def main() -> None:
    """The command line; exit status 1 where more survive than `--most`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="regular expression: mutants whose module it is found in")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--seconds", type=int, default=240, help="of processor time for one run of pytest")
    parser.add_argument("--most", type=float, default=0.1, help="largest share that may survive")
    parser.add_argument("--out", type=Path, help="CSV with one row a mutant")
    args = parser.parse_args()
    os.environ.update({"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"})
    sys.dont_write_bytecode = True
    mutants = [mutant for mutant in read() if re.search(args.only, mutant.module)]
    for mutant in mutants:
        mutant.mutated()
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        workers = [copy_tree(Path(folder), number) for number in range(max(1, min(args.jobs, len(mutants))))]
        for name in HEAVY:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
        results = run(mutants, workers, args.seconds)
    if args.out:
        with open(args.out, "w", newline="", encoding="utf-8") as handle:
            writer = csv.writer(handle, lineterminator="\n")
            writer.writerow(["number", "module", "bug", "result", "by"])
            writer.writerows([m.number, m.module, m.bug, *results[m.number]] for m in mutants)
    survivors = [mutant for mutant in mutants if results[mutant.number][0] == "survived"]
    counted = Counter(mutant.module for mutant in survivors)
    print(f"\n{len(survivors)} of {len(mutants)} mutants survive ({len(survivors) / max(len(mutants), 1):.1%})")
    for mutant in survivors:
        print(f"  {mutant.number:4d} {mutant.module}: {mutant.bug}")
    print(", ".join(f"{module} {count}" for module, count in sorted(counted.items())))
    if len(survivors) > args.most * len(mutants):
        sys.exit(1)


if __name__ == "__main__":
    main()
