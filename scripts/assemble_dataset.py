"""Project the accepted samples into the release: links, tables, manifest; and remove what no longer belongs."""

from _stage import Stage

stage = Stage(
    "assemble_dataset",
    __doc__,
    inputs=["shards+"],
    outputs=["table", "quarantine", "left_out", "findings", "manifest"],
    record=False,
)
stage.option("--choice", default="{}", help="JSON: reason -> samples that the configuration left out")


def work(args):
    import json

    from spotweave.dataset.release import Tables, project

    root = args.table.parent
    tables = Tables(root.name, args.table, args.quarantine, args.left_out, args.findings)
    stage.also += project(args.shards, root, json.loads(args.choice), tables, args.manifest)


if __name__ == "__main__":
    stage.run(work)
