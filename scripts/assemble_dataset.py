"""Project the accepted samples into the release: links, tables, manifest; and remove what no longer belongs."""

from _stage import Stage

stage = Stage(
    "assemble_dataset", __doc__, inputs=["shards+"], outputs=["table", "quarantine", "manifest"], record=False
)


def work(args):
    from pathlib import Path

    from tqdm import tqdm

    from spotweave.dataset import describe, release
    from spotweave.io import file_hash, read_json, remove

    root = args.table.parent
    samples = [sample for shard in args.shards for sample in read_json(shard)["samples"]]
    accepted = [sample for sample in samples if sample["refusal"] is None]
    files = [file for sample in accepted for file in sample["files"]]
    for file in tqdm(files, desc="release", disable=None):
        release.place(Path(file["store"]), root / file["released"])
    for path in release.leftovers(root, (file["released"] for file in files)):
        remove(path)

    rows = [sample["table"] for sample in accepted]
    release.write_table(args.table, rows, list(describe.COLUMNS))
    refused = [{"sample_id": s["sample_id"], **s["refusal"]} for s in samples if s["refusal"] is not None]
    release.write_table(args.quarantine, refused, release.QUARANTINE_COLUMNS)

    hashes = {file["released"]: file["sha256"] for file in files}
    tables = {f"{root.name}.csv": file_hash(args.table), "quarantine.csv": file_hash(args.quarantine)}
    release.write_manifest(args.manifest, {**hashes, **tables})


if __name__ == "__main__":
    stage.run(work)
