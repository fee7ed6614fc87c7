"""What one command costs, apart from everything else this process has started."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

# A process of its own, because the peak of a process's children is the largest of all it ever had.
WATCHED = """
import json, resource, subprocess, sys
code = subprocess.run(sys.argv[2:]).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
with open(sys.argv[1], "w") as handle:
    json.dump([used.ru_utime + used.ru_stime, used.ru_maxrss / 1024], handle)
sys.exit(code)
"""


@dataclass(frozen=True)
class Cost:
    """CPU seconds, wall seconds, peak memory of the largest process in MB, and what the command printed."""

    cpu_s: float
    wall_s: float
    peak_mb: float
    said: str


def cost_of(command: list[str], folder: Path) -> Cost:
    """Run a command in a folder and measure it; a command that fails raises with what it said."""
    with tempfile.NamedTemporaryFile() as figures:
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", WATCHED, figures.name, *command],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        wall_s = time.perf_counter() - start
        if done.returncode != 0:
            raise RuntimeError(done.stdout[-4000:])
        cpu_s, peak_mb = json.loads(Path(figures.name).read_text())
    return Cost(cpu_s, wall_s, peak_mb, done.stdout)
