"""Find and fetch one sample's raw files, verify them, and write down what they are and why these."""

import json
from functools import partial
from pathlib import Path

from _stage import Stage
from spotweave.intake import sample

stage = Stage("fetch_sample", __doc__, inputs=[], outputs=["manifest"])
stage.option(
    "--request",
    required=True,
    help='JSON: {"sample", "reader", "source", "accession", "files", "unit", "given": {role: {"location", …}}};'
    ' with "table", that cohort table has the whole addresses, tokens included',
)
stage.option("--folder", required=True, type=Path, help="where downloads go, one sub-folder a role")
stage.option("--licence", default="", help="licence of the files, as in the row")
sample.add_patience(stage.option)


def work(args):
    ingested = sample.fetch(json.loads(args.request), args.folder, args.licence, sample.patience(args), args.manifest)
    stage.also += [one.file.path for one in ingested.files]
    return ingested.report


if __name__ == "__main__":
    sample.in_one_line(stage.name, partial(stage.run, work))
