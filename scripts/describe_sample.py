"""Write what is known of one sample: accepted or refused and why, every measure, and where each file comes from."""

from _stage import Stage

stage = Stage(
    "describe_sample",
    __doc__,
    inputs=["records+", "manifest", "files+"],
    outputs=["metadata", "provenance"],
    record=False,
    takes_refused=True,
)
stage.option("--sample", required=True)
stage.option("--row", required=True, help="JSON of the cohort table's row")
stage.option("--settings", required=True, help="JSON of the configuration that shaped the sample")


def work(args):
    import json

    from spotweave.dataset import describe, layout, provenance
    from spotweave.io import read_json, write_json

    row = json.loads(args.row)
    records = [read_json(path) for path in args.records]
    metadata = describe.sample_metadata(args.sample, row, records)
    write_json(args.metadata, metadata)

    files = {}
    if metadata["status"] == "accepted":
        paths = layout.released(args.sample)
        files = provenance.describe_files({paths[path.name]: path for path in args.files})
    raw = provenance.describe_raw(args.manifest)
    origin = provenance.describe_origin(raw, files, records, json.loads(args.settings), row.get("licence"))
    write_json(args.provenance, origin)


if __name__ == "__main__":
    stage.run(work)
