"""A short run of the fuzz suite; `make fuzz` is the long one."""

import subprocess
import sys
from pathlib import Path


def test_mutated_deposits_are_read_or_refused_in_bounded_memory() -> None:
    """In a process of its own: the limit of memory stays with it."""
    script = Path(__file__).with_name("fuzz.py")
    command = [sys.executable, "-W", "ignore", str(script), "--cases", "120", "--seed", "11"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
