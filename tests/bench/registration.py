"""How well DAPI is registered with H&E: simulated pairs whose true map is known, and a real pair with landmarks.

    python tests/bench/registration.py --out docs/registration-measured.md
    python tests/bench/registration.py --pair HE.jpg HE.csv OTHER.jpg OTHER.csv

The second takes any two pictures of stained sections and their landmarks (columns X and Y, px), and prints the error.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyvips
import yaml
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "workflow"))
sys.path.insert(0, str(ROOT / "tests"))

from real_data import DATA
from spotweave.geometry import apply, fit_affine
from spotweave.register import pair, rasters
from spotweave.register.pair import Given, Registration, Settings
from spotweave.register.rasters import Raster
from spotweave.simulate.section_pair import Pair, draw_pair
from spotweave.slide_map import SlideMap

LIMITS = yaml.safe_load((ROOT / "config/config.yaml").read_text())["limits"]
DAPI_UM = 0.425  # twice the instrument's px, which no grid here is finer than
TARGET_UM, NEVER_UM = 2.0, 10.0
KIDNEY = DATA / "registration_rat_kidney"
LANDMARKS = 69
NOMINAL_UM = 2400.0  # long side of a picture whose px nobody knows: it fixes how many px the grids have
BRIGHTFIELD_SCALES = ((0.8, 0.86, 0.92, 0.97, 1.0, 1.03, 1.09, 1.16, 1.25),)

SIZE = {"size_um": (1000.0, 1000.0), "dapi_pixel_size_um": DAPI_UM, "he_pixel_size_um": 0.9}
CASES: dict[str, dict[str, Any]] = {
    "flat": {},
    "flat, 90 deg": {"turn_deg": 90},
    "flat, 180 deg, mirrored": {"turn_deg": 180, "mirrored": True},
    "flat, 270 deg": {"turn_deg": 270},
    "flat, 37 deg, mirrored": {"turn_deg": 37, "mirrored": True},
    "bent 5 um": {"deformation_um": 5},
    "bent 10 um, 12 deg": {"deformation_um": 10, "turn_deg": 12},
    "bent 15 um, mirrored": {"deformation_um": 15, "mirrored": True},
    "bent 20 um, 90 deg": {"deformation_um": 20, "turn_deg": 90},
    "bent 30 um, 200 deg": {"deformation_um": 30, "turn_deg": 200},
    "bent 30 um, other stain": {"deformation_um": 30, "stain_spread": 1.0},
    "bent 40 um, 300 deg, mirrored": {"deformation_um": 40, "turn_deg": 300, "mirrored": True},
    "bent 50 um, 45 deg": {"deformation_um": 50, "turn_deg": 45},
    "bent 60 um": {"deformation_um": 60},
    "bent 60 um, 135 deg, other stain": {"deformation_um": 60, "turn_deg": 135, "stain_spread": 1.0},
    "noise x 3": {"deformation_um": 10, "noise": 3.0},
    "noise x 6, other stain": {"deformation_um": 20, "noise": 6.0, "stain_spread": 1.0},
    "three quarters on the H&E, 1.5 x 1.5 mm": {
        "deformation_um": 20,
        "size_um": (1500.0, 1500.0),
        "overlap": 0.75,
        "turn_deg": 90,
    },
    "half on the H&E, 1.5 x 1.5 mm": {"deformation_um": 10, "size_um": (1500.0, 1500.0), "overlap": 0.5},
    "a third on the H&E, mirrored, 1.5 x 1.5 mm": {
        "deformation_um": 10,
        "size_um": (1500.0, 1500.0),
        "overlap": 0.33,
        "mirrored": True,
    },
    "torn by 20 um": {"deformation_um": 10, "tear_um": 20},
    "torn by 50 um, 90 deg": {"deformation_um": 20, "tear_um": 50, "turn_deg": 90},
    "H&E of 0.5 um/px": {"deformation_um": 25, "he_pixel_size_um": 0.5},
    "2.2 x 1.8 mm, bent 60 um": {"deformation_um": 60, "size_um": (2200.0, 1800.0), "turn_deg": 80},
}


@dataclass(frozen=True)
class Outcome:
    """One pair: what was accepted, and its true error of all nuclei on the H&E, um."""

    found: Registration
    truth: Pair | None
    seconds: float

    @property
    def accepted(self) -> bool:
        return self.found.chosen is not None

    def true_um(self, found: SlideMap) -> np.ndarray:
        assert self.truth is not None
        nuclei = self.truth.nuclei_um[self.truth.on_he]
        apart = np.linalg.norm(found.to_slide(nuclei) - self.truth.um_to_he(nuclei), axis=1)
        return apart * self.truth.he_pixel_size_um

    def of(self, *words: str) -> str:
        """True median of the best candidate whose name has all these words."""
        some = [one for one in self.found.candidates if all(word in one.name for word in words)]
        if not some or self.truth is None:
            return "-"
        best = min(some, key=lambda one: one.judged.loss_um)
        return f"{np.median(self.true_um(best.found)):.2f}"


def signals(found: Pair) -> tuple[Raster, Raster]:
    dapi = found.dapi_pixel_size_um
    moving = rasters.of_fluorescence(found.dapi, (dapi, dapi), dapi).at(1.0)
    he = rasters.of_stain(found.he, (1.0, 1.0), found.he_pixel_size_um)
    return he.at(1.0), moving


def registered(found: Pair, given: list[Given], settings: Settings) -> Outcome:
    start = time.process_time()
    result = pair.register(*signals(found), given, settings, LIMITS)
    return Outcome(result, found, time.process_time() - start)


def table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def right_pairs(most: int) -> tuple[str, dict[str, Pair]]:
    """Pairs that belong together."""
    rows, pairs, medians = [], {}, []
    for number, (name, options) in enumerate(tqdm(list(CASES.items())[:most], desc="pairs", disable=None)):
        truth = draw_pair(number + 1, donor=number, **{**SIZE, **options})
        pairs[name] = truth
        outcome = registered(truth, [], Settings(valis=number % 4 == 1))
        chosen = outcome.found.chosen or outcome.found.best
        apart = outcome.true_um(chosen.found)
        if outcome.accepted:
            medians.append(float(np.median(apart)))
        rows.append(
            [
                name,
                chosen.name if outcome.accepted else f"**refused** (best: {chosen.name})",
                f"{np.median(apart):.2f}",
                f"{np.percentile(apart, 95):.2f}",
                f"{chosen.judged.error_um:.2f}",
                f"{chosen.judged.error_p95_um:.2f}",
                f"{chosen.judged.matched_share:.2f}",
                f"{chosen.judged.gain:.0f}",
                outcome.of("search", "field"),
                outcome.of("VALIS rigid"),
                outcome.of("VALIS from"),
                f"{outcome.seconds:.0f}",
            ]
        )
    header = ["pair", "accepted", "true median", "true p95", "judged median", "judged p95", "found", "gain"]
    header += ["own field", "VALIS rigid", "VALIS", "CPU s"]
    done = sum(one <= TARGET_UM for one in medians)
    said = (
        f"{len(medians)} of {len(rows)} accepted; true median at most {TARGET_UM:g} um in {done} of them, above"
        f" {NEVER_UM:g} um in {sum(one > NEVER_UM for one in medians)}; largest {max(medians):.2f} um."
    )
    return f"{said}\n\n{table(header, rows)}", pairs


def unrelated(pairs: dict[str, Pair], most: int) -> str:
    """H&E of one section, DAPI of another: all must be refused."""
    names = list(pairs)
    rows, wrong = [], 0
    for n in tqdm(range(min(most, len(names))), desc="unrelated", disable=None):
        one, other = pairs[names[n]], pairs[names[(n + 5) % len(names)]]
        settings = Settings(valis=n < 1, valis_starts_max=2)
        given = [Given("another section's matrix", one.best_affine())]
        outcome = registered(replace(one, dapi=other.dapi), given, settings)
        wrong += outcome.accepted
        judged = [candidate.judged for candidate in outcome.found.candidates]
        rows.append(
            [
                f"H&E of '{names[n]}', DAPI of '{names[(n + 5) % len(names)]}'",
                "**accepted**" if outcome.accepted else "refused",
                f"{max(one.gain for one in judged):.1f}",
                f"{max(one.matched_share for one in judged if one.patches >= 8):.2f}",
                f"{len(judged)}{' (VALIS too)' if settings.valis else ''}",
                f"{outcome.seconds:.0f}",
            ]
        )
    header = ["pair", "verdict", "highest gain", "highest share found", "candidates", "CPU s"]
    return f"{wrong} of {len(rows)} accepted.\n\n{table(header, rows)}"


def wrong_maps(truth: Pair, other: Pair) -> Iterator[tuple[str, np.ndarray]]:
    """What a wrong alignment file says, um -> px of the H&E."""
    best = truth.best_affine()
    height, width = truth.he.shape[:2]

    def after(matrix: list[list[float]]) -> np.ndarray:
        return np.array(matrix, dtype=float) @ best

    yield "right matrix", best
    yield "another slide's", other.best_affine()
    yield "mirrored", after([[-1, 0, width], [0, 1, 0], [0, 0, 1]])
    yield "turned by 180 deg", after([[-1, 0, width], [0, -1, height], [0, 0, 1]])
    yield "turned by 90 deg", after([[0, -1, height], [1, 0, 0], [0, 0, 1]])
    yield "moved by 100 um", after([[1, 0, 60 / 0.9], [0, 1, 80 / 0.9], [0, 0, 1]])
    yield "moved by 15 um", after([[1, 0, 9 / 0.9], [0, 1, 12 / 0.9], [0, 0, 1]])
    yield "5 % too large", after([[1.05, 0, 0], [0, 1.05, 0], [0, 0, 1]])
    yield "false identity", np.diag([1 / truth.dapi_pixel_size_um, 1 / truth.dapi_pixel_size_um, 1.0])


def given_wrong(truth: Pair, other: Pair) -> str:
    rows = []
    for name, matrix in wrong_maps(truth, other):
        given = Given(name, matrix)
        outcome = registered(truth, [given], Settings(valis=False))
        stated = outcome.found.candidates[0]
        chosen = outcome.found.chosen
        moving = signals(truth)[1]
        rows.append(
            [
                name,
                f"{np.median(outcome.true_um(stated.found)):.1f}",
                "; ".join(text for text, _, _ in stated.judged.faults(LIMITS)[:2]) or "within all limits",
                chosen.name if chosen else "refused",
                f"{np.median(outcome.true_um(chosen.found)):.2f}" if chosen else "-",
                f"{np.median(pair.distance_um(chosen.found, stated.found, moving)):.1f}" if chosen else "-",
            ]
        )
    header = ["stated map", "its true median, um", "judged", "accepted", "true median, um", "stated map off it, um"]
    return table(header, rows)


def brightfield(paths: tuple[Path, Path], marks: tuple[Path, Path], settings: Settings) -> list[str]:
    """Two stained sections registered without any setting of their own; errors in px of the first."""
    pictures = [pyvips.Image.new_from_file(str(path)).colourspace("srgb").numpy()[..., :3] for path in paths]
    points = [pd.read_csv(path)[["X", "Y"]].to_numpy(dtype=float) for path in marks]
    count = min(LANDMARKS, *map(len, points))
    still, moving = (one[:count] for one in points)
    um = NOMINAL_UM / max(pictures[0].shape[:2])
    grids = [rasters.of_stain(np.ascontiguousarray(one), (1.0, 1.0), um) for one in pictures]
    start = time.process_time()
    found = pair.register(grids[0], grids[1], [], settings, LIMITS, BRIGHTFIELD_SCALES)
    chosen = found.chosen or found.best

    def apart(one: SlideMap) -> np.ndarray:
        return np.linalg.norm(one.to_slide(moving) - still, axis=1)

    best = np.linalg.norm(apply(fit_affine(moving, still), moving) - still, axis=1)
    rows = [
        [
            one.name,
            f"{np.median(apart(one.found)):.2f}",
            f"{np.percentile(apart(one.found), 95):.2f}",
            f"{one.judged.loss_um / um:.2f}",
            f"{one.judged.matched_share:.2f}",
            f"{one.judged.gain:.1f}",
        ]
        for one in found.candidates
    ]
    header = ["candidate", "median, px", "p95, px", "judged loss, px", "found", "gain"]
    return [
        f"Chosen: {chosen.name}, **median landmark error {np.median(apart(chosen.found)):.2f} px**"
        f" (95th percentile {np.percentile(apart(chosen.found), 95):.2f}), {count} landmarks; the best affine map of"
        f" the landmarks themselves leaves {np.median(best):.2f} px. {time.process_time() - start:.0f} CPU s."
        + ("" if found.chosen else " By the limits for DAPI and H&E of one section it would be refused."),
        table(header, rows),
    ]


TEXT = """# Registration, measured
Written by `make bench-registration`. Pairs are **simulated** (`spotweave.simulate.section_pair`): one section drawn as
DAPI and, through a known warp, as H&E of another scanner; 1.0 x 1.0 mm unless said. Errors are um; *true* ones are of
all nuclei that are on the H&E, *judged* ones of patches that no fit has seen, which is all that a real sample has.
*found* is the share of those patches that is found again, *gain* how far the correlation stands out of moved copies
(standard deviations). Nothing is given but the pictures and their pixel sizes. VALIS is asked for every fourth pair,
from the best matrix."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--pair", type=Path, nargs=4, metavar=("HE", "HE_CSV", "OTHER", "OTHER_CSV"))
    parser.add_argument("--no-valis", action="store_true")
    parser.add_argument("--most", type=int, default=len(CASES), help="simulated pairs")
    args = parser.parse_args()
    if args.pair:
        he, he_csv, other, other_csv = args.pair
        print("\n\n".join(brightfield((he, other), (he_csv, other_csv), Settings(valis=not args.no_valis))))
        return
    first, pairs = right_pairs(args.most)
    parts = [TEXT, "## Pairs that belong together", first]
    parts += ["## H&E and DAPI of different sections", unrelated(pairs, 10)]
    truth, other = pairs["bent 20 um, 90 deg"], pairs["flat"]
    parts += ["## Stated maps, on the pair 'bent 20 um, 90 deg'", given_wrong(truth, other)]
    if KIDNEY.exists():
        names = [KIDNEY / f"Rat-Kidney_{stain}" for stain in ("HE", "PanCytokeratin")]
        pictures, marks = ([Path(f"{name}.{suffix}") for name in names] for suffix in ("jpg", "csv"))
        parts += [
            "## A real pair: H&E and pan-cytokeratin of consecutive sections of a rat kidney",
            "Brightfield on brightfield, of unknown pixel size, without a setting of its own.",
            *brightfield((pictures[0], pictures[1]), (marks[0], marks[1]), Settings()),
        ]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    parts.append(f"Largest memory of the whole bench: {peak:.1f} GB.")
    text = "\n\n".join(parts) + "\n"
    print(text)
    if args.out:
        args.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
