"""Fetch one sample's raw files, verify them, and write down what they are."""

import os
from pathlib import Path

from _stage import Stage

# The configuration's, by way of the environment: patience changes no file, so no job may depend on it.
ATTEMPTS = int(os.environ.get("SPOTWEAVE_FETCH_ATTEMPTS", "5"))
TIMEOUT_S = float(os.environ.get("SPOTWEAVE_FETCH_TIMEOUT_S", "60"))

stage = Stage("fetch_sample", __doc__, inputs=[], outputs=["manifest"])
stage.option("--sample", required=True, help="sample id")
stage.option("--source", required=True, help="name of the source that fetches the files: https, file")
stage.option("--folder", required=True, type=Path, help="where downloads go, one sub-folder a role")
stage.option("--files", required=True, help='JSON list of {"role": …, "location": …, "checksum": …}')
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
    from spotweave import sources
    from spotweave.io import write_json

    settings = sources.FetchSettings(args.attempts, args.timeout_s, args.backoff_s)
    source = sources.load(args.source)
    fetched = [
        # Two roles may have files of the same name.
        (wanted, source.fetch(wanted, args.folder / wanted.role, settings))
        for wanted in sources.parse_wanted(args.files)
    ]
    write_json(
        args.manifest,
        {
            "sample": args.sample,
            "licence": args.licence,
            "files": [
                {
                    "role": wanted.role,
                    "name": file.name,
                    "location": wanted.location,
                    "path": str(file.path),
                    "bytes": file.bytes,
                    "sha256": file.sha256,
                }
                for wanted, file in fetched
            ],
        },
    )
    return {"files": len(fetched), "bytes": sum(file.bytes for _, file in fetched)}


if __name__ == "__main__":
    stage.run(work)
