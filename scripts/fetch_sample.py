"""Find and fetch one sample's raw files, verify them, and write down what they are and why these."""

import errno
import os
import sys
from pathlib import Path

from _stage import Stage

# The configuration's, by way of the environment: patience changes no file, so no job may depend on it.
ATTEMPTS = int(os.environ.get("SPOTWEAVE_FETCH_ATTEMPTS", "5"))
TIMEOUT_S = float(os.environ.get("SPOTWEAVE_FETCH_TIMEOUT_S", "60"))
UNANNOUNCED_MAX_GB = float(os.environ.get("SPOTWEAVE_FETCH_UNANNOUNCED_MAX_GB", "20"))
FREE_MIN_GB = float(os.environ.get("SPOTWEAVE_FETCH_FREE_MIN_GB", "0.1"))
BYTES_PER_GB = 10**9

stage = Stage("fetch_sample", __doc__, inputs=[], outputs=["manifest"])
stage.option(
    "--request",
    required=True,
    help='JSON: {"sample", "reader", "source", "accession", "files", "unit", "given": {role: {"location", …}}};'
    ' with "table", that cohort table has the whole addresses, tokens included',
)
stage.option("--folder", required=True, type=Path, help="where downloads go, one sub-folder a role")
stage.option("--licence", default="", help="licence of the files, as in the row")
stage.option(
    "--attempts",
    type=int,
    default=ATTEMPTS,
    help="attempts in a row without progress before giving up",
)
stage.option(
    "--timeout-s",
    type=float,
    default=TIMEOUT_S,
    help="seconds without a byte that end an attempt",
)
stage.option(
    "--unannounced-max-gb",
    type=float,
    default=UNANNOUNCED_MAX_GB,
    help="most GB that are taken from a server that does not tell a size",
)
stage.option("--free-min-gb", type=float, default=FREE_MIN_GB, help="GB that stay free on the disk")
stage.option("--backoff-s", type=float, default=1.0, help="seconds before the second attempt, then doubled")


def with_secrets(request):
    """A request with the whole addresses of its row, where the table has them."""
    if "table" not in request:
        return request
    from spotweave.addresses import public_place
    from spotweave.tables.sheets import cells_of

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


def work(args):
    import json

    from spotweave.intake.ingest import ingest
    from spotweave.intake.request import parse_request
    from spotweave.io import write_json
    from spotweave.transfer.files import FetchSettings

    request = parse_request(with_secrets(json.loads(args.request)))
    settings = FetchSettings(
        args.attempts,
        args.timeout_s,
        args.backoff_s,
        unannounced_max_bytes=int(args.unannounced_max_gb * BYTES_PER_GB),
        free_min_bytes=int(args.free_min_gb * BYTES_PER_GB),
    )
    ingested = ingest(request, args.folder, settings)
    write_json(
        args.manifest,
        {
            "sample": request.sample,
            "licence": args.licence,
            "files": [
                {
                    "role": one.role,
                    "name": one.file.name,
                    "location": one.location,
                    "path": str(one.file.path),
                    "bytes": one.file.bytes,
                    "sha256": one.file.sha256,
                }
                for one in ingested.files
            ],
        },
    )
    stage.also.extend(one.file.path for one in ingested.files)
    return ingested.report


def main():
    """A network or a disk that fails is told in one line; what else goes wrong is a bug, with its traceback."""
    from spotweave.transfer.files import Unreachable

    try:
        stage.run(work)
    except OSError as error:
        if not isinstance(error, Unreachable) and error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        sys.exit(f"fetch_sample: FAILED: {error}")


if __name__ == "__main__":
    main()
