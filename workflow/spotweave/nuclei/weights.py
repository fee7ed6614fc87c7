"""The file with a model's weights, held against its SHA-256 before it is opened."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from spotweave.io import file_hash
from spotweave.nuclei import NucleiSpec, NucleiUnavailable

RERUN = "run again with --forcerun segment_nuclei"


def weights_file(spec: NucleiSpec, folder: Path | None, steps: Sequence[str]) -> tuple[Path, str]:
    """Where it is, and its SHA-256.

    Parameters
    ----------
    folder
        Where a relative path lies; None is the working folder.
    steps
        How to get it; what to type then is added.

    Raises
    ------
    NucleiUnavailable
        If there is no such file here, or it is another one than the row says.
    """
    path = (folder or Path()) / spec.source
    if not path.is_file():
        raise NucleiUnavailable(spec.nuclei, f"no file {spec.source}.", [*steps, RERUN])
    found = file_hash(path)
    if spec.sha256 and found != spec.sha256:
        problem = f"{spec.source} has the SHA-256 {found}, expected is {spec.sha256}."
        raise NucleiUnavailable(
            spec.nuclei, problem, ["get the file again, or correct the column sha256 of the nuclei table", RERUN]
        )
    return path, found
