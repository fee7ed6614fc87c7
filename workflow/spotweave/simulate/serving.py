"""Serving the demo deposit while a command runs, which finds it as if it were the publishers' servers."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from spotweave.simulate import deposit

# Whose addresses the server stands in for.
PUBLISHERS = (
    "https://deposit.invalid/demo/",
    "https://ftp.ncbi.nlm.nih.gov/",
    "https://www.ncbi.nlm.nih.gov/",
    "https://cf.10xgenomics.com/samples/",
    "https://s3-us-west-2.amazonaws.com/10x.files/samples/",
)
MIRRORS = "SPOTWEAVE_MIRRORS"
NOT_FOUND = 127  # what a shell returns for a command it cannot find


def serve_while(folder: Path, command: Sequence[str]) -> int:
    """Build the deposit where needed, serve it, run the command; without one, serve until told to end.

    Parameters
    ----------
    folder
        Where the deposit lies, or is to lie.

    Returns
    -------
    The command's exit code.

    Raises
    ------
    FileExistsError
        The folder holds something else.
    """
    built = deposit.build(folder)
    print(f"demo deposit: SIMULATED samples, {'built' if built else 'found'} in {folder}", file=sys.stderr, flush=True)
    with deposit.serve(folder) as url:
        mirrors = " ".join([*os.environ.get(MIRRORS, "").split(), *(f"{publisher}={url}" for publisher in PUBLISHERS)])
        if command:
            return _run(command, mirrors)
        ended = _end_on_signals()  # before the line: whoever reads it may end us at once
        print(f"export {MIRRORS}='{mirrors}'", flush=True)
        ended.wait()
        return 0


def _run(command: Sequence[str], mirrors: str) -> int:
    """Run the command, hand it the signals that end this process, return its code (128 + n if signal n ended it)."""
    try:
        process = subprocess.Popen(command, env={**os.environ, MIRRORS: mirrors})
    except (FileNotFoundError, PermissionError) as error:
        print(f"serve_demo.py: {error}", file=sys.stderr)
        return NOT_FOUND

    def pass_on(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and _terminal_signals_us():
            return  # Ctrl-C has already reached the command, and a second one would cut its own ending short
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, pass_on)
    code = process.wait()
    return code if code >= 0 else 128 - code


def _terminal_signals_us() -> bool:
    """Whether this process is in a terminal's foreground group, to all of which Ctrl-C is sent."""
    try:
        with open("/dev/tty", "rb") as terminal:
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:
        return False


def _end_on_signals() -> threading.Event:
    """An event that Ctrl-C and SIGTERM set."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: ended.set())
    return ended
