"""Train the corner detector on rendered frames and write its weights and model card.

    python scripts/train_detector.py --weights resources/fiducial_detector/weights.safetensors

Renders its own data: crops around the corners of frames of every difficulty, and crops without any. Needs no network;
uses a GPU where there is one.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True, help="where to write them; card.md is written beside")
    parser.add_argument("--frames", type=int, default=900, help="rendered frames; each gives about four crops")
    parser.add_argument("--epochs", type=int, default=9)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1, help="more are faster, and give other weights")
    parser.add_argument("--card-only", action="store_true", help="measure given weights again and rewrite the card")
    parser.add_argument("--minutes", type=float, help="with --card-only: how long training took")
    parser.add_argument(
        "--real", type=Path, nargs="*", default=[], help="Space Ranger spatial folders of 6.5 mm areas, for the card"
    )
    args = parser.parse_args()

    from spotweave.fiducials import training

    how = {"frames": args.frames, "epochs": args.epochs, "seed": args.seed, "threads": args.threads}
    if args.card_only:
        training.write_card(args.weights, **how, minutes=args.minutes, real=args.real)
    else:
        training.train_and_describe(args.weights, how, args.real)


if __name__ == "__main__":
    main()
