"""Predict the expression of patients from slides without spots, by a network that fit_method has kept.

python scripts/predict_slides.py --slides slides.csv \\
    --model results/<dataset>/models/<task>/<protocol>/<method>/fold0 \\
    --predictions egnv2.csv --colours colours.csv --left-out left_out.csv

slides.csv has the columns slide (a path), patient and, for pictures that do not say it, pixel_size_um.
"""

from pathlib import Path

from _stage import Stage

stage = Stage(
    "predict_slides", __doc__, inputs=["slides"], outputs=["predictions", "colours", "left_out"], record=False
)
stage.option("--model", type=Path, required=True, help="a folder with model.json and network.safetensors")
stage.option("--size-px", type=int, help="side of a tile in its own px; left out, that of the training patches")
stage.option("--pixel-size-um", type=float, help="um per px of a tile; left out, that of the training patches")
stage.option(
    "--average",
    choices=["expression", "predicted"],
    default="expression",
    help="means over tiles of expression, the logarithm undone, or of what is predicted, as the benchmark does",
)
stage.option("--scratch", type=Path, default=Path(".predict_slides"), help="where whole slides are kept for a next run")


def work(args):
    from spotweave.studies import slides, study

    cut = slides.Cut(args.size_px, args.pixel_size_um, args.average == "expression")
    found = slides.predict(slides.read_slides(args.slides), args.model, cut, args.scratch)
    study.write(found.expression.reset_index(), args.predictions)
    study.write(found.colours.reset_index(), args.colours)
    study.write(found.left_out, args.left_out)


if __name__ == "__main__":
    stage.run(work)
