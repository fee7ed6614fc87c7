"""What of wrongly placed spots can be seen without a frame: detection and false alarms by kind, on real sections.

    python tests/bench/placement.py --out docs/placement-measured.md

Each section is aligned as the workflow does it (`placing.lattice`), as filed and with one thing made wrong at a time.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from scipy.spatial import KDTree
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "workflow"))

from spotweave.align.agreement import WORKING_UM
from spotweave.align.lattice import Picture
from spotweave.deposits.raw import RawFile
from spotweave.errors import Refusal
from spotweave.geometry import fit_lattice
from spotweave.pictures.reduced import read_reduced
from spotweave.placing import Options
from spotweave.placing.lattice import align_sample
from spotweave.readers.st_v1 import read as st_v1
from spotweave.readers.visium import read as visium

SHARED = ROOT.parent / "shared/data"
# Pictures of 600 to 1,905 px stand in for whole ones here; the pitch of the MOB arrays is known from their outer size.
LIMITS = yaml.safe_load((ROOT / "config/config.yaml").read_text())["limits"] | {
    "pixel_size_max_um": 20,
    "anisotropy_max": 0.05,
}
STUDIES = {
    "HER2+ breast (ST)": ("B4", "C2", "C3", "C4", "C5"),
    "olfactory bulb (ST)": ("MOB1", "MOB2", "MOB3"),
    "cortex (Visium)": ("151507", "151669", "151673", "151676"),
    "mouse brain (Visium)": ("anterior", "posterior"),
}


@dataclass(frozen=True)
class Section:
    """A section: reader's spots and measures, its picture reduced, and what a row says of its array."""

    name: str
    table: pd.DataFrame
    reading: dict
    reduced: np.ndarray
    scale: float
    options: Options

    @property
    def size_px(self) -> tuple[int, int]:
        height, width = self.reduced.shape[:2]
        return round(width * self.scale), round(height * self.scale)

    def moved(self, change: Callable[[np.ndarray], np.ndarray]) -> Section:
        table = self.table.copy()
        table[["x_px", "y_px"]] = change(table[["x_px", "y_px"]].to_numpy(dtype=float))
        return replace(self, table=table)

    def pictured(self, change: Callable[[np.ndarray], np.ndarray]) -> Section:
        return replace(self, reduced=np.ascontiguousarray(change(self.reduced)))


@cache
def section(name: str) -> Section:
    """One of the real sections, as filed."""
    if name.startswith(("MOB", "B", "C")):
        is_bulb = name.startswith("MOB")
        folder = SHARED / ("mob" if is_bulb else "her2st")
        spots = f"alignment_table_{name}.tsv" if is_bulb else f"{name}_selection.tsv"
        files = {"counts": f"{name}.tsv.gz", "spots": spots}
        reading = st_v1.read({role: RawFile(file, folder / file) for role, file in files.items()})
        options = Options((95.38, 106.45), 110.0) if is_bulb else Options((200.0, 200.0), 100.0)
        report, table, image, scale = reading.report, reading.spots, folder / f"{name}.jpg", 1.0
    else:
        folder = SHARED / {
            "anterior": "visium_mouse_brain_anterior/spatial",
            "posterior": "visium_mouse_brain_posterior_outs/spatial",
        }.get(name, f"dlpfc/{name}")
        spots = next(folder.glob("tissue_positions_list.*"))
        scale = json.loads((folder / "scalefactors_json.json").read_text())["tissue_lowres_scalef"]
        image, options = folder / "tissue_lowres_image.png", Options((None, None), 55.0, scale)
        report, table = visium_spots(spots, folder.parent if name in ("anterior", "posterior") else None)
    spots_px = table[["x_px", "y_px"]].to_numpy(dtype=float) * scale
    pitch_um = np.array(options.pitch_um if options.pitch_um[0] else (50.0, 87.0))
    um = fit_lattice(table[["array_col", "array_row"]].to_numpy(dtype=float) * pitch_um, spots_px).pixel_size_um
    reduced, px = read_reduced(image, um / WORKING_UM)
    return Section(name, table, report, reduced, px[0], options)


def visium_spots(path: Path, counts: Path | None) -> tuple[dict, pd.DataFrame]:
    """The reader's where there are counts; the DLPFC sections have positions only."""
    if counts is not None:
        matrix = next(p for p in [*counts.glob("*.h5"), *counts.glob("*/matrix.mtx.gz")])
        files = {"counts": RawFile(matrix.name, matrix), "spots": RawFile(path.name, path)}
        for role in ("features", "barcodes"):
            if (matrix.parent / f"{role}.tsv.gz").exists():
                files[role] = RawFile(f"{role}.tsv.gz", matrix.parent / f"{role}.tsv.gz")
        reading = visium.read(files)
        return reading.report, reading.spots
    names = ["spot_id", "in_tissue", "array_row", "array_col", "y_px", "x_px"]
    table = pd.read_csv(path, header=None, names=names).assign(total_counts=np.nan)
    return {"capture_area": "6.5 mm", "positions_from": "positions file"}, table


def step_px(found: Section) -> float:
    """px, as filed, from a spot to its neighbour."""
    places_px = found.table[["x_px", "y_px"]].drop_duplicates().to_numpy(dtype=float)
    return float(np.median(KDTree(places_px).query(places_px, k=2)[0][:, 1]))


def wrongs(found: Section, others: tuple[str, ...]) -> Iterator[tuple[str, Section]]:
    """Every kind of mistake, made."""
    for turn in (1, 2, 3):
        yield (
            f"picture turned by {90 * (2 if turn == 2 else 1)} degrees",
            found.pictured(lambda p, k=turn: np.rot90(p, k)),
        )
    yield "picture mirrored", found.pictured(lambda p: p[:, ::-1])
    yield "picture mirrored", found.pictured(lambda p: p[::-1])
    yield "x and y exchanged", found.moved(lambda xy: xy[:, ::-1])
    middle = found.table[["x_px", "y_px"]].agg(["min", "max"]).mean().to_numpy()
    yield "array entered turned by 180 degrees", found.moved(lambda xy: 2 * middle - xy)
    yield "array entered mirrored", found.moved(lambda xy: np.array([2 * middle[0], 0]) + xy * [-1, 1])
    yield "positions doubled", found.moved(lambda xy: 2 * xy)
    yield "positions halved", found.moved(lambda xy: xy / 2)
    height, width = found.reduced.shape[:2]
    yield (
        "picture cropped by 15 % at the top left",
        found.pictured(lambda p: p[height * 15 // 100 :, width * 15 // 100 :]),
    )
    for steps, words in ((1, "one step"), (2, "two steps"), (3, "three steps")):
        for direction in ([1, 0], [-1, 0], [0, 1], [0, -1]):
            by = steps * step_px(found) * np.array(direction)
            yield f"positions moved by {words}", found.moved(lambda xy, by=by: xy + by)
    for other in others:
        if other != found.name:
            theirs = section(other)
            yield "another section's picture", replace(found, reduced=theirs.reduced, scale=theirs.scale)


def partial(found: Section) -> Iterator[tuple[str, Section]]:
    """Selections that are right and not the whole tissue."""
    selected = found.table["in_tissue"].to_numpy() == 1

    def chosen(keep: np.ndarray, is_listed: bool) -> Section:
        table = found.table.assign(in_tissue=(selected & keep).astype(int))
        return replace(found, table=table if is_listed else table[table["in_tissue"] == 1].reset_index(drop=True))

    rng = np.random.default_rng(1)
    x = found.table["x_px"].to_numpy(dtype=float)
    y = found.table["y_px"].to_numpy(dtype=float)
    centre = np.hypot(x - x[selected].mean(), y - y[selected].mean())
    for share in (0.9, 0.5):
        yield f"{1 - share:.0%} of the tissue left out at random", chosen(rng.random(len(x)) < share, False)
    yield "the left half of the tissue", chosen(x < np.median(x[selected]), False)
    yield "a disc within the tissue", chosen(centre < np.quantile(centre[selected], 0.3), False)
    yield "a disc within the tissue, the others listed", chosen(centre < np.quantile(centre[selected], 0.3), True)


def outcome(found: Section) -> tuple[str, str, dict]:
    """`refused`, `flagged` or `passed`, by what, and the measures."""
    picture = Picture(f"{found.name}.jpg", found.size_px)
    try:
        measured = align_sample(
            found.table,
            found.reading,
            None,
            picture,
            lambda factor: (found.reduced, (found.scale, found.scale)),
            found.options,
            LIMITS,
        ).measures
    except Refusal as refusal:
        by = {"the positions lay the array mirrored": "hand", "the spots do not agree": "agreement"}
        by |= {"the spots agree better": "rival"}
        name = next((short for start, short in by.items() if refusal.reason.startswith(start)), "extent or scale")
        return "refused", name, {"measured": refusal.measured}
    flags = [flag.partition(":")[0] for flag in measured["flags"] if flag.startswith(("tissue", "rival", "mirror"))]
    return ("flagged" if flags else "passed"), ", ".join(flags), measured


def as_filed() -> list[str]:
    """The numbers of every section as it is."""
    lines = [
        "| section | `edge_auc` | `counts_rho` | `agreement` | best rival | its gain | outcome |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in (name for names in STUDIES.values() for name in names):
        what, by, found = outcome(section(name))
        numbers = [found.get(key) for key in ("edge_auc", "counts_rho", "agreement", "rival", "rival_gain")]
        told = " | ".join("-" if n is None else n if isinstance(n, str) else f"{n:.3f}" for n in numbers)
        lines.append(f"| {name} | {told} | {what}{f' ({by})' if by else ''} |")
    return lines


def tried(make: Callable[[Section, tuple[str, ...]], Iterator[tuple[str, Section]]], title: str) -> list[str]:
    """Outcome by kind of change and study."""
    rows = []
    for study, names in tqdm(STUDIES.items(), desc=title, disable=None):
        for name in names:
            for kind, changed in make(section(name), names):
                what, by, _ = outcome(changed)
                rows.append({"study": study, "kind": kind, "outcome": what, "by": by})
    table = pd.DataFrame(rows)
    lines = [f"| {title} | study | tried | refused | by | flagged | passed |", "|---|---|---|---|---|---|---|"]
    for (kind, study), group in table.groupby(["kind", "study"], sort=False):
        counts = group["outcome"].value_counts()
        by = group.loc[group["outcome"] == "refused", "by"].value_counts()
        told = ", ".join(f"{name} {number}" for name, number in by.items())
        numbers = [str(counts.get(name, 0)) for name in ("refused", "flagged", "passed")]
        lines.append(f"| {kind} | {study} | {len(group)} | {numbers[0]} | {told} | {numbers[1]} | {numbers[2]} |")
    of_all = ", ".join(f"{number} {name}" for name, number in table["outcome"].value_counts().items())
    return [*lines, "", f"Of {len(table)}: {of_all}."]


TEXT = """# Placement without a frame, measured

Written by `make bench-placement`. Every section below goes through
`placing.lattice` as in the workflow, without a frame, with the limits of `config/config.yaml` (but for the pixel size: most of
these pictures are reduced copies).

## What is looked at
| measure | what it is |
|---|---|
| `edge_auc` | selected spots against the places within three steps of them that are not selected: share of pairs in which the selected one is the more colourful (largest less smallest of red, green, blue, averaged over a spot). Places with more selected than other places around them are left out |
| `counts_rho` | Spearman's rho of counts and optical density, selected spots |
| `agreement` | 2 `edge_auc` - 1 + what of `counts_rho` is beyond two of its standard errors: 0 by chance |
| rival | the best of 44 other placements: turned and mirrored about the picture's and the array's middle, x and y exchanged, scaled by 1/4 to 4, moved by one to three steps in eight directions |

| outcome | when |
|---|---|
| refused | `agreement` below `agreement_min`, unless 80 % of the selected spots are as colourful as tissue; a rival better by more than `rival_gain_max` that tells tissue from glass itself; a mirrored array on a direct Visium slide; spots off the picture or a pixel size beyond the limits |
| flagged, in `placement_flags` | `edge_auc` below `edge_auc_flagged`; a rival better by more than `rival_gain_flagged`; a mirrored array elsewhere |

## Sections as filed: false alarms"""
PARTIAL = """
## Selections that are right, but part of the tissue

Tables of the selected spots alone, unless said otherwise. A flag is right here: the edge of such a selection is no edge of a
tissue.
"""
NOT_SEEN = """
## What cannot be seen
- A section whose spots are all selected, to the rim of the array, or fewer than 20 beside them: nothing to compare.
  `edge_auc` is blank.
- A move of less than one step: it changes the agreement by less than sections differ. Of one step, where the edge of the
  tissue runs along the move, or counts do not follow the darkness (some cortex sections).
- A turn or mirror that lays a tissue onto itself, of counts that do not follow the darkness.
- The picture of a neighbouring section of one block, placed alike: flagged at best, by its edge.
- Counts of another section with the positions and the picture of one: the selection agrees. Readers hold counts against
  the selection; [identity](identity.md) tells sections with the same counts.
- Fluorescence and other stains: colour is of H&E. Grey pictures have none and are flagged.
- Sections above are 14, of four studies, none pale or sparse: rates on other tissue are not known. The right sections
  nearest to a limit have `edge_auc` .970 (flag at .9), `agreement` .941 (limit .2) and a rival's gain of -.008 (flag .05).
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    if not SHARED.exists():
        sys.exit(f"the real sections are not there ({SHARED})")
    parts = [
        TEXT.rstrip(),
        "\n".join(as_filed()),
        "## Made wrong: detection",
        "\n".join(tried(wrongs, "made wrong")),
        PARTIAL.strip(),
        "\n".join(tried(lambda found, _: partial(found), "selected")),
        NOT_SEEN.strip(),
    ]
    text = "\n\n".join(parts) + "\n"
    args.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
