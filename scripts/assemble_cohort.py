"""Gather a cohort: one entry a sample, accepted or refused, with the hashes of its released files."""

from _stage import Stage

stage = Stage("assemble_cohort", __doc__, inputs=["metadata@"], outputs=["shard"], record=False)


def work(args):
    from spotweave.dataset.gathering import gather_cohort
    from spotweave.io import write_json

    write_json(args.shard, gather_cohort(args.metadata))


if __name__ == "__main__":
    stage.run(work)
