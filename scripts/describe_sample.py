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

    from spotweave.dataset.gathering import describe_sample

    stages = (args.records, args.manifest, args.files)
    described = (args.metadata, args.provenance)
    describe_sample(args.sample, json.loads(args.row), json.loads(args.settings), stages, *described)


if __name__ == "__main__":
    stage.run(work)
