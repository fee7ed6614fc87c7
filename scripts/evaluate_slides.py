"""Evaluate encoders by what is known of whole patients: logistic regression on the mean embedding of a slide's tiles.

python scripts/evaluate_slides.py --slides bcnb.csv --labels ER PR HER2 --encoders conch \\
    results/her2st/finetune/conch-ft/fold0.safetensors --rows bcnb_scores.csv --left-out left_out.csv

slides.csv has the columns slide (a path), patient, pixel_size_um for pictures that do not say it, and one for each
label.
"""

from pathlib import Path

from _stage import Stage

ROOT = Path(__file__).resolve().parents[1]

stage = Stage("evaluate_slides", __doc__, inputs=["slides"], outputs=["rows", "left_out"], record=False)
stage.option("--labels", nargs="+", required=True, help="columns of the table of slides, two values each")
stage.option("--encoders", nargs="+", required=True, help="names of the encoder table, or files that a recipe left")
stage.option("--configfile", type=Path, default=ROOT / "config/config.yaml", help="names the encoder table")
stage.option("--size-px", type=int, default=224, help="side of a tile in its own px")
stage.option("--pixel-size-um", type=float, default=0.5, help="um per px of a tile")
stage.option("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5], help="of the folds of patients")
stage.option("--seed", type=int, default=1, help="of random weights")
stage.option("--device", default="auto", help="auto, cpu or cuda")
stage.option("--scratch", type=Path, default=Path(".evaluate_slides"), help="keeps each slide's mean embedding")


def work(args):
    from spotweave.plan import query
    from spotweave.studies import slides, statuses, study

    table = slides.read_slides(args.slides)
    rows = query.encoder_rows(ROOT, args.configfile, statuses.names_of_rows(args.encoders))
    encoders = statuses.opened(args.encoders, rows, args.seed, args.device)
    cut = {"size_px": args.size_px, "um_per_px": args.pixel_size_um, "scratch": args.scratch}
    scores, left_out = statuses.evaluate(table, args.labels, encoders, **cut, seeds=args.seeds)
    study.write(scores, args.rows)
    study.write(left_out, args.left_out)


if __name__ == "__main__":
    stage.run(work)
