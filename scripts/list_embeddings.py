"""List one encoder's embeddings of a task's samples by their hashes: what its fits depend on, in one file."""

from _stage import Stage

stage = Stage("list_embeddings", __doc__, inputs=["embeddings@", "records@"], outputs=["listed"], record=False)


def work(args):
    from spotweave.io import file_hash, write_json

    files = zip(args.samples, args.embeddings, args.records, strict=True)
    write_json(args.listed, {sample: list(map(file_hash, paths)) for sample, *paths in files})


if __name__ == "__main__":
    stage.run(work)
