"""Find and fetch one sample's raw files, verify them, and write down what they are and why these."""

import os
from pathlib import Path

from _stage import Stage

# The configuration's, by way of the environment: patience changes no file, so no job may depend on it.
ATTEMPTS = int(os.environ.get("SPOTWEAVE_FETCH_ATTEMPTS", "5"))
TIMEOUT_S = float(os.environ.get("SPOTWEAVE_FETCH_TIMEOUT_S", "60"))

stage = Stage("fetch_sample", __doc__, inputs=[], outputs=["manifest"])
stage.option(
    "--request",
    required=True,
    help='JSON: {"sample", "reader", "source", "accession", "files", "unit", "given": {role: {"location", …}}}',
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
stage.option("--backoff-s", type=float, default=1.0, help="seconds before the second attempt, then doubled")


def work(args):
    import json

    from spotweave import ingest
    from spotweave.io import write_json
    from spotweave.sources import FetchSettings

    request = ingest.parse_request(json.loads(args.request))
    settings = FetchSettings(args.attempts, args.timeout_s, args.backoff_s)
    ingested = ingest.ingest(request, args.folder, settings)
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


if __name__ == "__main__":
    stage.run(work)
