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
        stage.also.append(root / file["released"])
    for path in release.leftovers(root, (file["released"] for file in files)):
        remove(path)

    rows = [sample["table"] for sample in accepted]
    release.write_table(args.table, rows, describe.columns())
    refused = [{"sample_id": s["sample_id"], **s["refusal"]} for s in samples if s["refusal"] is not None]
    release.write_table(args.quarantine, refused, release.QUARANTINE_COLUMNS)

    reasons = {sample: reason for reason, names in json.loads(args.choice).items() for sample in names}
    left_out = [{"sample_id": sample, "reason": reasons[sample]} for sample in sorted(reasons)]
    release.write_table(args.left_out, left_out, release.LEFT_OUT_COLUMNS)

    findings = describe.metadata_findings({sample["sample_id"]: sample["row"] for sample in samples})
    release.write_table(args.findings, findings, describe.FINDING_COLUMNS)

    hashes = {file["released"]: file["sha256"] for file in files}
    tables = {
        f"{root.name}.csv": file_hash(args.table),
        "quarantine.csv": file_hash(args.quarantine),
        "left_out.csv": file_hash(args.left_out),
        "metadata_findings.csv": file_hash(args.findings),
    }
    release.write_manifest(args.manifest, {**hashes, **tables})


if __name__ == "__main__":
    stage.run(work)
