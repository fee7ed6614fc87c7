"""Genes and counts of one task of HEST-Benchmark's release, of what was taken of its samples."""

from _stage import Stage

stage = Stage("gather_released", __doc__, inputs=["splits", "of_sample@"], outputs=["targets"], record=False)


def work(args):
    from spotweave.io import read_json
    from spotweave.released.taking import gather_targets

    gather_targets(read_json(args.splits), dict(zip(args.samples, args.of_sample, strict=True)), args.targets)


if __name__ == "__main__":
    stage.run(work)
