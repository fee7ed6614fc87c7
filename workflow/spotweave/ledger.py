"""What every job has written, kept where nothing cleans up: damage is noticed at the start of the next run.

Snakemake deletes the outputs of a failed job together with what it knew of them, does not look for an intermediate
whose consumers are up to date, and never asks whether a file still has its size. So each job notes in the ledger that
it has begun, and, when its outputs have their names, their sizes. A job that began and did not finish, or one of whose
files has gone or changed its size, is not done: the rules run it again.

The ledger lies beside the results, under `<results>/.ledger/`, one small file a job, and is no output of any rule.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from spotweave.io import write_json

# Tells the jobs where the ledger lies; without it (a script run by hand) nothing is noted.
VARIABLE = "SPOTWEAVE_LEDGER"
FAULTS_SHOWN = 8


class Superseded(RuntimeError):
    """Another run of the same job has begun since this one did: its outputs are the ones that count."""


class Ledger:
    """The ledger of one dataset.

    Parameters
    ----------
    root
        Its folder, directly below that of the results.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def entry(self, outputs: Iterable[Path | str]) -> Path | None:
        """The file that speaks of the job with these outputs; None where they lie outside the results."""
        results, first = f"{self.root.parent}/", min(map(str, outputs))
        if not first.startswith(results):
            return None
        return self.root / f"{first.removeprefix(results)}.written"

    def faults(self, outputs: Sequence[Path | str]) -> list[str]:
        """What is wrong with a job's files, a phrase each; [] where all are as written, or none was written yet."""
        entry = self.entry(outputs)
        if entry is None:
            return []
        try:
            known = json.loads(entry.read_bytes())
            sizes: dict[str, int] | None = known["files"]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError, TypeError):
            return [f"{entry} cannot be read"]
        if sizes is None:
            return [f"{min(map(str, outputs))}: its job began and did not finish"]
        found = {name: _size(name) for name in sizes}
        return [_phrase(name, size, found[name]) for name, size in sizes.items() if found[name] != size]


class Entry:
    """One job's part of the ledger, as the job itself writes it."""

    def __init__(self, path: Path | None, token: str) -> None:
        self.path = path
        self.token = token

    @classmethod
    def of_job(cls, outputs: Iterable[Path], token: str) -> Entry:
        """The entry of the job with these outputs; `token` tells this run of it from others."""
        root = os.environ.get(VARIABLE)
        return cls(Ledger(Path(root)).entry(outputs) if root else None, token)

    def begin(self) -> None:
        """Note that the job has begun: from here on, its outputs are those of this run or of none."""
        self._write(None)

    def require_latest(self) -> None:
        """Raise `Superseded` if another run of the job has begun since: one whose Snakemake was killed lives on."""
        if self.path and json.loads(self.path.read_bytes()).get("run") != self.token:
            raise Superseded("this job has been started again since; this run of it leaves the outputs alone")

    def finish(self, files: Iterable[Path]) -> None:
        """Note the sizes of everything the job has written."""
        if self.path:
            self._write({str(path): path.stat().st_size for path in files})

    def _write(self, sizes: dict[str, Any] | None) -> None:
        if self.path:
            write_json(self.path, {"run": self.token, "files": sizes})


def notice(faults: Sequence[str]) -> str:
    """What to say of damaged files: how many there are, and the first of them, a line each."""
    shown = [f"  {fault}" for fault in faults[:FAULTS_SHOWN]]
    more = [f"  and {len(faults) - len(shown)} more"] if len(faults) > len(shown) else []
    return "\n".join([f"{len(faults)} files are not as their jobs left them; those jobs run again:", *shown, *more])


def _size(path: str) -> int | None:
    try:
        return os.stat(path).st_size  # noqa: PTH116 (a million files: no Path for each)
    except OSError:
        return None


def _phrase(path: str, size: int, found: int | None) -> str:
    if found is None:
        return f"{path} has gone"
    return f"{path} has {found:,} bytes, {size:,} were written"
