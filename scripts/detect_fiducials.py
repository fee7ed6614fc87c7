"""Find the printed frame of a Visium slide in its picture and lay the array onto it, measured.

A picture without a frame (cropped, or another instrument's) is no reason to refuse: whether a sample needs one is the
aligner's to say. Refused is what cannot be read.
"""

from pathlib import Path

from _stage import Stage

stage = Stage("detect_fiducials", __doc__, inputs=["manifest"], outputs=["fiducials", "overlay"])
stage.option("--sample", required=True)
stage.option("--weights", type=Path, required=True, help="of the corner detector")
stage.option("--printing", type=Path, required=True, help="table of the printed places of dots")


def work(args):
    from spotweave.fiducials.sample import detect

    return detect(args.sample, args.manifest, args.weights, args.printing, args.fiducials, args.overlay)


if __name__ == "__main__":
    stage.run(work)
