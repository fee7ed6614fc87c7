"""Gather a cohort: one entry a sample, accepted or refused, with the hashes of its released files."""

from _stage import Stage

stage = Stage("assemble_cohort", __doc__, inputs=["metadata@"], outputs=["shard"], record=False)


def work(args):
    from spotweave.dataset import layout
    from spotweave.io import file_hash, read_json, write_json

    samples = []
    for path in args.metadata:
        metadata = read_json(path)
        entry = {key: metadata[key] for key in ("sample_id", "refusal", "row", "table")}
        if metadata["status"] == "accepted":
            store = path.parent
            paths = layout.released(metadata["sample_id"])
            hashes = {name: known["sha256"] for name, known in read_json(store / "provenance.json")["files"].items()}
            for name in ("metadata.json", "provenance.json"):
                hashes[paths[name]] = file_hash(store / name)
            entry["files"] = [
                {"released": released, "store": str(store / name), "sha256": hashes[released]}
                for name, released in paths.items()
            ]
        samples.append(entry)
    write_json(args.shard, {"samples": samples})


if __name__ == "__main__":
    stage.run(work)
