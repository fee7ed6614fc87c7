"""The project's speed as ratios within one run: against what the hardware and libraries allow, and against scale.

    python tests/bench/run.py --out docs/benchmarks.md [--only REGEX]

A part is a module `x.py` of this folder with `bench_x(folder: Path) -> list[str]`: rows `| what | figure |`, measured
in that empty folder. There is nothing to list; `--only` prints the parts whose name it meets and writes no page.

Absolute figures move with the machine and its load, ratios far less: each is of two works done in turn within this run.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import re
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT / "workflow"), str(ROOT / "tests"), str(HERE)]

CONDITIONS = """# What was measured

Written by `make bench` on {machine}. CPU seconds (user and system, all threads and processes); each part is one
run. `3.10 times (2.90 to 3.30, n = 5)` is the median and the range of a ratio over so many repeats, in which ours and
what it is compared with took turns. Ratios travel, seconds do not: other work on the machine makes all of them
longer. Linear algebra has one thread; libvips and OpenCV have what a job gives them. *Simulated* data have the
size and the types of real ones, *drawn* pictures too; the real section is ST's her2st C2. Compared with are
bare libraries that do the same work. Other pipelines want an environment of their own and are not run here:
where one is quoted, it was measured against the same library.

| what | figure |
|---|---|
"""


def parts() -> list[str]:
    """Modules of this folder that have rows, in alphabetical order."""
    return sorted(path.stem for path in HERE.glob("*.py") if f"\ndef bench_{path.stem}(" in path.read_text("utf-8"))


def machine() -> str:
    """Cores, processor and versions."""
    cpu = Path("/proc/cpuinfo")
    model = re.search(r"^model name\s*:\s*(.+)$", cpu.read_text(), re.MULTILINE) if cpu.is_file() else None
    name = model[1].strip() if model else platform.machine()
    return f"{os.cpu_count()} cores ({name}), {platform.system()}, Python {platform.python_version()}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    lines = []
    for part in parts():
        if re.search(args.only, part):
            before = os.times()
            with tempfile.TemporaryDirectory() as folder:
                rows = getattr(importlib.import_module(part), f"bench_{part}")(Path(folder))
            cpu_s = sum(os.times()[:4]) - sum(before[:4])
            print(*rows, f"[{part}: {cpu_s:.0f} CPU s]", sep="\n", flush=True)
            lines += rows
    if args.out and not args.only:
        args.out.write_text(CONDITIONS.format(machine=machine()) + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
