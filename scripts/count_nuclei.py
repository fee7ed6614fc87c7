"""Count the nuclei in every spot of one sample, into its AnnData as it is released."""

from _stage import Stage

stage = Stage("count_nuclei", __doc__, inputs=["st", "nuclei"], outputs=["counted"])


def work(args):
    from spotweave.dataset.counted_nuclei import count_nuclei

    return count_nuclei(args.st, args.nuclei, args.counted)


if __name__ == "__main__":
    stage.run(work)
