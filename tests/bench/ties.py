"""How often intervals hold and verdicts are wrong, on simulated sections and donors; writes docs/ties-measured.md.

python tests/bench/ties.py --out docs/ties-measured.md [--sections 400] [--seed 100]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "workflow"), str(ROOT / "tests")]

from drawn_fields import fields, grid
from spotweave.benchmark import verdicts
from spotweave.benchmark.blocks import whole_and_half
from spotweave.benchmark.spread import Spread
from spotweave.correlation import pearson_by_group
from spotweave.metrics import Scored

ACROSS, DOWN, PITCH_UM, GENES, BLOCK_UM = 30, 25, 200.0, 50, 1500.0
WIDTHS_UM = (150.0, 300.0, 500.0)
DONORS, TABLES = (5, 6, 10), 1500
PAGE = """# How sure verdicts are

Written by `make bench-ties`: simulation, seeds from {seed} on. What is simulated: [benchmark](benchmark.md#ties).

{sections:,} sections of {width_mm:.0f} x {height_mm:.0f} mm, {spots} spots, {genes} genes, blocks of {block_mm} mm; the
standard error of a share near .95 is {error:.3f}.

| width of the fields, um | 95 % interval holds the score | equals told apart at .05 | standard error / true spread |
|---|---|---|---|
{on_sections}

{tables:,} tables of four predictors; donors have variances of their own (standard deviations .01 to .1).

| donors | any equal pair told apart | a true difference of .1 found |
|---|---|---|
{over_donors}
"""


def section(seed: int, width_um: float) -> tuple[dict[str, float], dict[tuple[str, str], tuple[float, float]]]:
    """Scores of two equally good predictors of one section; and of each and of the pair, error and freedom."""
    rng = np.random.default_rng([seed, int(width_um)])
    mix = np.random.default_rng(7).normal(size=(2, GENES))
    what, *unseen = np.split(fields(rng, 6, width_um, ACROSS, DOWN, PITCH_UM), 3, axis=1)
    truth = what @ mix + rng.normal(size=(len(what), GENES))
    positions, nobody = grid(ACROSS, DOWN, PITCH_UM), np.zeros(ACROSS * DOWN, dtype=np.int64)
    spread = Spread(lambda sample: whole_and_half(sample, positions, 1.0, BLOCK_UM, seed))
    scores = {}
    for name, one in zip("ab", unseen, strict=True):
        predicted = (what + one) @ mix
        scores[name] = float(pearson_by_group(truth, predicted, nobody).mean())
        genes = [f"g{number}" for number in range(GENES)]
        spread.add(name, 0, Scored(truth, truth, predicted, positions, nobody, nobody, genes, 0, 1), ["s"], ["s"])
    rows = spread.rows({"task": "t", "protocol": "strict"}, ["a", "b"])
    return scores, {(row.predictor, row.other): (row.error, row.freedom) for row in rows}


def on_sections(width_um: float, seeds: range) -> str:
    """A row of the first table."""
    found = [section(seed, width_um) for seed in seeds]
    scores = np.array([[one[name] for name in "ab"] for one, _ in found])
    errors = np.array([[rows[name, ""] for name in "ab"] for _, rows in found])
    reach = verdicts.reach(errors[..., 0], errors[..., 1])
    held = (np.abs(scores - scores.mean()) <= reach).mean()
    pair = np.array([rows["a", "b"] for _, rows in found])
    apart = (verdicts.student(scores[:, 0] - scores[:, 1], pair[:, 0], pair[:, 1]) <= verdicts.LEVEL).mean()
    ratio = np.sqrt((errors[..., 0] ** 2).mean()) / scores.std(ddof=1)
    return f"| {width_um:.0f} | {held:.3f} | {apart:.3f} | {ratio:.2f} |"


def over_donors(donors: int, rng: np.random.Generator) -> str:
    """A row of the second table."""
    first, second = np.triu_indices(4, 1)
    wrong = found = 0
    for _ in range(TABLES):
        equal = rng.normal(0.3, 0.1, donors) + rng.normal(size=(4, donors)) * rng.uniform(0.01, 0.1, donors)
        planted = equal + np.array([[0.1], [0], [0], [0]])
        p, q = (verdicts.holm(verdicts.over_donors(one)[0][first, second]) for one in (equal, planted))
        wrong += bool((p <= verdicts.LEVEL).any())
        found += bool(q[0] <= verdicts.LEVEL)
    return f"| {donors} | {wrong / TABLES:.3f} | {found / TABLES:.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--sections", type=int, default=400)
    parser.add_argument("--seed", type=int, default=100)
    args = parser.parse_args()
    seeds, rng = range(args.seed, args.seed + args.sections), np.random.default_rng(args.seed)
    page = PAGE.format(
        seed=args.seed,
        sections=args.sections,
        width_mm=ACROSS * PITCH_UM / 1000,
        height_mm=DOWN * PITCH_UM / 1000,
        spots=ACROSS * DOWN,
        genes=GENES,
        block_mm=BLOCK_UM / 1000,
        error=np.sqrt(0.05 * 0.95 / args.sections),
        on_sections="\n".join(on_sections(width_um, seeds) for width_um in WIDTHS_UM),
        tables=TABLES,
        over_donors="\n".join(over_donors(donors, rng) for donors in DONORS),
    )
    if args.out:
        args.out.write_text(page, encoding="utf-8")
    else:
        print(page)


if __name__ == "__main__":
    main()
