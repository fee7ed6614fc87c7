"""Look at one sample of a task of HEST-Benchmark's release, and write what embeddings and scores are made of."""

from pathlib import Path

from _stage import Stage

stage = Stage("take_released", __doc__, inputs=[], outputs=["patches", "targets", "alignment"])
stage.option("--root", required=True, type=Path, help="the folder that holds IDC, PRAD and others")
stage.option("--name", required=True, help="the task's folder in it")
stage.option("--sample", required=True, help="sample id, as the csv files have it")
stage.option("--size-px", required=True, type=int, help="side of a patch, as the configuration has it")
stage.option("--um-per-px", required=True, type=float, help="size of its pixels, as the configuration has it")
stage.option("--needs-um", action="store_true", help="a chosen method needs to know how large pixels of the slide are")


def work(args):
    from spotweave.released.taking import Asked, take_sample

    asked = Asked(args.size_px, args.um_per_px, args.needs_um)
    return take_sample(args.root, args.name, args.sample, asked, args.patches, args.targets, args.alignment)


if __name__ == "__main__":
    stage.run(work)
