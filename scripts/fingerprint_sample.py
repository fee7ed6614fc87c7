"""Reduce one sample to a fingerprint by which copies of it are found in other cohorts."""

from _stage import Stage

stage = Stage("fingerprint_sample", __doc__, inputs=["expression", "thumbnail"], outputs=["fingerprint"])


def work(args):
    from spotweave.identity.counted import Counted
    from spotweave.identity.expression import sketch
    from spotweave.identity.picture import picture_hashes
    from spotweave.io import write_json

    expression = sketch(Counted.read(args.expression))
    hashes = picture_hashes(args.thumbnail)
    write_json(args.fingerprint, {"expression": expression, "picture": hashes})
    return {
        "genes_informative": expression["genes_informative"],
        "counts_with_a_place": expression["entries"],
        "picture_has_tissue": bool(hashes["tissue"]),
    }


if __name__ == "__main__":
    stage.run(work)
