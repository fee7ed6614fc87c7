"""One sample's raw files from its row to their manifest: what the fetch stage does, and how patient it is."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from spotweave.addresses import public_place
from spotweave.intake.ingest import ingest
from spotweave.intake.request import Ingested, parse_request
from spotweave.io import write_json
from spotweave.tables.sheets import cells_of
from spotweave.transfer.files import FetchSettings, Unreachable

BYTES_PER_GB = 10**9
# The configuration's, by way of the environment: patience changes no file, so no job may depend on it.
PATIENCE = {
    "attempts": (int, "5", "attempts in a row without progress before giving up"),
    "timeout-s": (float, "60", "seconds without a byte that end an attempt"),
    "unannounced-max-gb": (float, "20", "most GB that are taken from a server that does not tell a size"),
    "free-min-gb": (float, "0.1", "GB that stay free on the disk"),
}
VARIABLE = "SPOTWEAVE_FETCH_{}"
FULL = (errno.ENOSPC, errno.EDQUOT)


def add_patience(option: Callable[..., Any]) -> None:
    """Add the options of `PATIENCE` and `--backoff-s` to a command line, by its `add_argument`."""
    for name, (kind, usual, what) in PATIENCE.items():
        default = os.environ.get(VARIABLE.format(name.upper().replace("-", "_")), usual)
        option(f"--{name}", type=kind, default=kind(default), help=what)
    option("--backoff-s", type=float, default=1.0, help="seconds before the second attempt, then doubled")


def patience(args: argparse.Namespace) -> FetchSettings:
    """What the options of `add_patience` ask for."""
    return FetchSettings(
        args.attempts,
        args.timeout_s,
        args.backoff_s,
        unannounced_max_bytes=int(args.unannounced_max_gb * BYTES_PER_GB),
        free_min_bytes=int(args.free_min_gb * BYTES_PER_GB),
    )


def fetch(content: Mapping[str, Any], folder: Path, licence: str, settings: FetchSettings, manifest: Path) -> Ingested:
    """Bring a sample's raw files and write down what they are.

    Parameters
    ----------
    content
        A request as JSON has it (`request.parse_request`); with `table`, that cohort table has the whole addresses,
        tokens included.
    folder
        Where downloads go, one sub-folder a role.
    licence
        Of the files, as in the row.
    manifest
        Where `raw.json` goes.

    Raises
    ------
    Refusal
        A needed role has no file or several, or a file is wrong.
    Unreachable
        The network, or the publisher, is not to be had now.
    ValueError
        The row has changed since the request was made.
    """
    request = parse_request(with_secrets(content))
    ingested = ingest(request, folder, settings)
    files = [
        {
            "role": one.role,
            "name": one.file.name,
            "location": one.location,
            "path": str(one.file.path),
            "bytes": one.file.bytes,
            "sha256": one.file.sha256,
        }
        for one in ingested.files
    ]
    write_json(manifest, {"sample": request.sample, "licence": licence, "files": files})
    return ingested


def with_secrets(request: Mapping[str, Any]) -> Mapping[str, Any]:
    """A request with the whole addresses of its row, where the table has them.

    Raises
    ------
    ValueError
        The row has changed since the request was made.
    """
    if "table" not in request:
        return request
    cells = cells_of(Path(request["table"]), "sample_id", request["sample"])
    given = {
        role: {**file, "location": cells.get(role, "")}
        for role, file in request["given"].items()
        if public_place(cells.get(role, "")) == file["location"]
    }
    if given.keys() != request["given"].keys():
        raise ValueError(
            f"{request['table']}: the row of {request['sample']} has changed since this run began; run again"
        )
    return {**request, "given": given}


def in_one_line(name: str, run: Callable[[], None]) -> None:
    """Run a stage: a network or a disk that fails ends it in one line; what else goes wrong is a bug, told in full."""
    try:
        run()
    except OSError as error:
        if not isinstance(error, Unreachable) and error.errno not in FULL:
            raise
        sys.exit(f"{name}: FAILED: {error}")
