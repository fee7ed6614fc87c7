"""Look at one sample of a task of HEST-Benchmark's release, and write what embeddings and scores are made of."""

from pathlib import Path

from _stage import Stage

stage = Stage("take_released", __doc__, inputs=[], outputs=["patches", "targets", "alignment"])
stage.option("--root", required=True, type=Path, help="the folder that holds IDC, PRAD and others")
stage.option("--name", required=True, help="the task's folder in it")
stage.option("--sample", required=True, help="sample id, as the csv files have it")
stage.option("--size-px", required=True, type=int, help="side of a patch, as the configuration has it")


def work(args):
    from spotweave.released.taking import take_sample

    return take_sample(args.root, args.name, args.sample, args.size_px, args.patches, args.targets, args.alignment)


if __name__ == "__main__":
    stage.run(work)
