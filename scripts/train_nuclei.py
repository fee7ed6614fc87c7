"""Train the network of the nuclei method `guided` on rendered tissue and write its weights and card.

    python scripts/train_nuclei.py --weights resources/nuclei_network/weights.safetensors

Renders its own data; needs no network and no GPU. The SHA-256 that the card states belongs into the row of the nuclei
table.
"""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True, help="where to write them; card.md is written beside")
    parser.add_argument("--scenes", type=int, default=1000, help="rendered scenes of 160 x 160 um")
    parser.add_argument("--steps", type=int, default=4000, help="of 8 patches")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2, help="that render; the result does not depend on it")
    parser.add_argument("--card-only", action="store_true", help="measure given weights again and rewrite the card")
    parser.add_argument("--minutes", type=float, default=0.0, help="with --card-only: how long training took")
    args = parser.parse_args()

    from spotweave.networks.threads import limit_threads
    from spotweave.nuclei import training

    limit_threads(1)
    if min(args.scenes, args.steps) < training.PARTS:
        parser.error(f"--scenes and --steps: at least {training.PARTS} each")
    plan = training.Plan(args.scenes, args.steps, args.seed)
    minutes = args.minutes
    if not args.card_only:
        begun = time.monotonic()
        training.train(args.weights, plan, processes=args.processes)
        minutes = (time.monotonic() - begun) / 60
    training.write_card(args.weights, plan, minutes)


if __name__ == "__main__":
    main()
