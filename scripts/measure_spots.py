"""Sum up number, size and shape of the nuclei in each spot of one sample."""

from _stage import Stage

stage = Stage("measure_spots", __doc__, inputs=["st", "nuclei", "tissue", "alignment"], outputs=["spots"])


def work(args):
    from spotweave.nuclei.measuring import measure_spots

    return measure_spots(args.st, args.nuclei, args.tissue, args.alignment, args.spots)


if __name__ == "__main__":
    stage.run(work)
