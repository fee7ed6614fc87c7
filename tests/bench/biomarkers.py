"""Morphology and its exploration measured: the tables of docs/biomarkers.md, some minutes on one core.

    python tests/bench/biomarkers.py [discs] [levels] [cells] [intervals] [planted] [speed]

`planted` takes simulated Xenium sections, once with their true outlines and once with nuclei that the model named by
`NUCLEI` (a row of config/nuclei.csv, `guided` if not set) finds on the H&E.
"""

from __future__ import annotations

import csv
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import shapely

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "unit"), str(TESTS.parent / "workflow")]

from test_biomarkers import correlation, fields
from test_morphology import ellipses

from drawn_nuclei import Store, true_nuclei, write_store
from spotweave.biomarkers.autocorrelation import correlograms
from spotweave.biomarkers.correlate import correlate
from spotweave.biomarkers.sample import Outputs, explore
from spotweave.biomarkers.settings import Settings
from spotweave.biomarkers.shifts import Partners, effective_size, p_by_rank, p_of_size, shifted
from spotweave.biomarkers.units import Files, Units
from spotweave.nuclei.matching import match_cells
from spotweave.nuclei.measuring import measure_spots
from spotweave.nuclei.morphology import FEATURES, neighbourhood, of_labels
from spotweave.nuclei.table import read_nuclei
from spotweave.simulate.planted import Planted
from spotweave.simulate.section_pair import draw_pair
from spotweave.simulate.xenium_section import SectionTruth, draw_section

PITCH_UM = 100.0
PAIRS, SECTIONS = 30, 10
WIDTHS_UM = (0.0, 150.0, 300.0, 500.0, 700.0)
FAR_UM = 6500.0


def visium(seed: int) -> np.ndarray:
    """About 2,000 spots (N, 2) of a bent piece of tissue, up to 6 mm wide, with a hole."""
    row, column = np.mgrid[0:76, 0:66]
    xy = np.stack([(column + 0.5 * (row % 2)) * PITCH_UM, row * PITCH_UM * np.sqrt(0.75)], axis=-1).reshape(-1, 2)
    away = xy - FAR_UM / 2
    angle = np.arctan2(*away.T[::-1]) + seed
    inside = np.hypot(*away.T) < 2400 + 600 * np.sin(2 * angle + 1) + 350 * np.sin(5 * angle)
    return xy[inside & (np.hypot(*(away - (700, 300)).T) > 500)]


def discs() -> None:
    """Mean over 200 places on the grid, by true value."""
    print("| radius, px | area | perimeter | major axis | roundness | roughness |\n|---|---|---|---|---|---|")
    for radius in (4, 6, 8, 12, 16, 24):
        shifts = np.random.default_rng(0).uniform(-0.5, 0.5, (200, 2))
        found = {
            name: float(one.mean()) for name, one in of_labels(ellipses([(radius, radius, 0)] * 200, shifts), 1).items()
        }
        truth = {"area_um2": np.pi * radius**2, "perimeter_um": 2 * np.pi * radius, "major_axis_um": 2.0 * radius}
        cells = [f"{found[name] / value:.4f}" for name, value in truth.items()]
        print(f"| {radius} | {' | '.join(cells)} | {found['roundness']:.4f} | {found['roughness']:.4f} |")


def permuted_blocks(x: np.ndarray, y: np.ndarray, xy_um: np.ndarray, side_um: float, seed: int) -> np.ndarray:
    """P (G, K) by exchanging square blocks of one of the maps, the way that is not used."""
    rng, partners = np.random.default_rng(seed), Partners(xy_um, PITCH_UM)
    blocks, own = np.unique(np.floor((xy_um + rng.uniform(0, side_um, 2)) / side_um), axis=0, return_inverse=True)
    r, above = correlation(x, y), np.zeros((x.shape[1], y.shape[1]))
    for _ in range(199):
        moved = (blocks[rng.permutation(len(blocks))] - blocks)[own.ravel()] * side_um
        partner = partners.at(xy_um + moved)
        has = partner >= 0
        above += np.abs(correlation(x[has], y[partner[has]])) * np.sqrt(has.mean()) >= np.abs(r)
    return (1 + above) / 200


def levels() -> None:
    """Share of unrelated pairs with P up to .05 / .01."""
    ways = ("naive", "blocks of .8 mm", "blocks of 1.3 mm", "Clifford", "rank", "shifts", "used")
    print(f"| width of the maps, um | {' | '.join(ways)} |\n|---|{'---|' * len(ways)}")
    for width in WIDTHS_UM:
        found: dict[str, list[np.ndarray]] = {way: [] for way in ways}
        for number in range(SECTIONS):
            rng, xy_um = np.random.default_rng([1, number, int(width)]), visium(number)
            x, y = fields(rng, xy_um, PAIRS, width), fields(rng, xy_um, PAIRS, width)
            r, null = correlation(x, y), shifted(x, y, xy_um, permutations=199, seed=number)
            assert null is not None
            made = {
                "naive": p_of_size(r, len(xy_um)),
                "blocks of .8 mm": permuted_blocks(x, y, xy_um, 800.0, number),
                "blocks of 1.3 mm": permuted_blocks(x, y, xy_um, 1300.0, number),
                "Clifford": p_of_size(r, 1 + 1 / correlograms(x, y, xy_um, number).variance()),
                "rank": p_by_rank(r, null),
                "shifts": p_of_size(r, effective_size(null)),
            }
            made["used"] = np.maximum(made["Clifford"], made["shifts"])
            for way, p in made.items():
                found[way].append(np.diag(p))
        p = {way: np.concatenate(one) for way, one in found.items()}
        cells = [f"{(p[way] <= 0.05).mean():.3f} / {(p[way] <= 0.01001).mean():.3f}" for way in ways]
        print(f"| {width:g} | {' | '.join(cells)} |", flush=True)


def cells() -> None:
    """Share of pairs with P up to .05 / .01: features of the nuclei of simulated sections and maps drawn at will."""
    ways = ("naive", "shifts", "rank", "Clifford", "used")
    print(f"| width of the maps, um | {' | '.join(ways)} |\n|---|{'---|' * len(ways)}")
    sections = []
    for seed in (3, 4, 5):
        pair = draw_pair(seed, size_um=(1504.0, 1504.0), he_pixel_size_um=0.5, dapi_pixel_size_um=4.0)
        nuclei, _ = true_nuclei(pair)
        xy_um = nuclei[["x_px", "y_px"]].to_numpy() * 0.5
        around = neighbourhood(xy_um, shapely.box(0, 0, 1e4, 1e4))
        sections.append((xy_um, np.column_stack([nuclei[list(FEATURES)].to_numpy(), *around.values()])))
    for width in (0.0, 60.0, 120.0, 200.0):
        found: dict[str, list[np.ndarray]] = {way: [] for way in ways}
        for number, (xy_um, features) in enumerate(sections):
            # Fields are drawn on a grid of 100 um: of smaller ones, on a larger section.
            x = fields(np.random.default_rng([3, number, int(width)]), xy_um * 4, 100, width * 4)
            r, null = correlation(x, features), shifted(x, features, xy_um, permutations=199, seed=number)
            assert null is not None
            made = {
                "naive": p_of_size(r, len(xy_um)),
                "shifts": p_of_size(r, effective_size(null)),
                "rank": p_by_rank(r, null),
                "Clifford": p_of_size(r, 1 + 1 / correlograms(x, features, xy_um, number).variance()),
            }
            made["used"] = np.maximum(made["Clifford"], made["shifts"])
            for way, p in made.items():
                found[way].append(p)
        p = {way: np.concatenate(one) for way, one in found.items()}
        texts = [f"{(p[way] <= 0.05).mean():.3f} / {(p[way] <= 0.01001).mean():.3f}" for way in ways]
        print(f"| {width:g} | {' | '.join(texts)} |", flush=True)


def intervals() -> None:
    """Share of intervals that hold the true R, and their mean width."""
    print("| width of the maps, um | R 0 | R .3 | R .6 | mean width |\n|---|---|---|---|---|")
    for width in WIDTHS_UM:
        cells, wide = [], []
        for truth in (0.0, 0.3, 0.6):
            held = []
            for number in range(SECTIONS):
                rng, xy_um = np.random.default_rng([2, number, int(width)]), visium(number)
                feature = fields(rng, xy_um, PAIRS, width)
                gene = truth * feature + np.sqrt(1 - truth**2) * fields(rng, xy_um, PAIRS, width)
                names = [str(index) for index in range(PAIRS)]
                units = Units("spot", names, [f"f{name}" for name in names], gene, feature, xy_um, 1.0)
                table, _ = correlate(units, Settings(permutations=199), number)
                own = table[table["gene"] == table["feature"].str[1:]]
                held += ((own["r_low"] <= truth) & (truth <= own["r_high"])).tolist()
                wide += (own["r_high"] - own["r_low"]).tolist()
            cells.append(f"{np.mean(held):.3f}")
        print(f"| {width:g} | {' | '.join(cells)} | {np.mean(wide):.2f} |", flush=True)


def segmented(store: Store, section: SectionTruth, row: dict[str, str]) -> Store:
    """The store with the nuclei that a model finds on the H&E."""
    from spotweave.nuclei.segment import Outputs as Made
    from spotweave.nuclei.segment import segment_sample
    from spotweave.simulate.ome_files import write_ome
    from spotweave.slide.pyramid import build_pyramid

    folder = store.st.parent
    size = section.pair.he_pixel_size_um
    build_pyramid(
        write_ome(folder / "he.ome.tif", section.pair.he, size),
        folder / "slide.tif",
        pixel_size_um=size,
        tile_px=512,
        jpeg_quality=90,
    )
    found = folder / "found.parquet"
    made = Made(found, folder / "found.geojson", folder / "found.jpg")
    segment_sample(folder / "slide.tif", store.tissue, store.alignment, made, row, folder=TESTS.parent)
    return Store(store.st, store.cells, store.alignment, store.tissue, found)


def explored(store: Store, level: str) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Area against both planted genes, by gene, and how nuclei were matched."""
    folder = store.st.parent
    measure_spots(store.st, store.nuclei, store.tissue, store.alignment, folder / "spots.parquet")
    matching = match_cells(store.nuclei, store.cells, store.alignment, folder / "matches.parquet")
    files = Files(store.st, folder / "spots.parquet", store.cells, store.nuclei, folder / "matches.parquet")
    names = ("c.parquet", "m.png", "h.png", "s.png")
    settings = Settings(level=level, genes=["SIMH001", "SIMH002"], pair=["SIMH001", "area_um2"])
    explore("simulated", files, settings, 1, Outputs(*(folder / f"{level}_{name}" for name in names)))
    table = pq.read_table(folder / f"{level}_c.parquet").to_pandas()
    return table[table["feature"].isin(["area_um2", "area_um2_mean"])].set_index("gene"), matching


def of_truth(section: SectionTruth, store: Store) -> str:
    """R of the log-normalised planted gene with the true area over the matched cells, and of found with true area."""
    pairs = pq.read_table(store.st.parent / "matches.parquet").to_pandas()
    cells = pairs["cell"].str.removeprefix("cell").astype(int).to_numpy()
    share = section.counts[:, section.genes.index("SIMH001")] / np.maximum(section.counts.sum(axis=1), 1)
    area = section.pair.nucleus_area_um2[cells]
    found = read_nuclei(store.nuclei, ["area_um2"]).columns["area_um2"].to_numpy()[pairs["nucleus"]]
    return f"{np.corrcoef(np.log1p(1e4 * share)[cells], area)[0, 1]:.2f} | {np.corrcoef(found, area)[0, 1]:.2f}"


def planted() -> None:
    """R of the planted gene and of the free one with nuclear area: true outlines, and found ones."""
    name = os.environ.get("NUCLEI", "guided")
    with (TESTS.parent / "config/nuclei.csv").open() as handle:
        row = next(row for row in csv.DictReader(handle) if row["nuclei"] == name)
    print(
        "| section | level | nuclei | number | matched | unique | true R of the matched | R of areas | planted | q | free | q |"
    )
    print(f"|{'---|' * 12}")
    kept = os.environ.get("KEEP")
    for seed in (3, 4, 5):
        pair = draw_pair(seed, size_um=(1504.0, 1504.0), he_pixel_size_um=0.5, dapi_pixel_size_um=2.0)
        section = draw_section(pair, seed, transcripts_per_cell=120.0, planted=Planted())
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(kept or temporary) / str(seed)
            folder.mkdir(exist_ok=True)
            true, _ = write_store(folder, section)
            for what, store in (("true", true), (name, segmented(true, section, row))):
                for level in ("cell", "spot"):
                    area, matching = explored(store, level)
                    cells = [str(seed), level, what, str(matching["nuclei"])]
                    cells += [str(matching[share]) for share in ("kept_share", "unique_share")]
                    cells.append(of_truth(section, store) if level == "cell" else " | ")
                    for gene in ("SIMH001", "SIMH002"):
                        one = area.loc[gene]
                        cells += [f"{one['r']:.2f} [{one['r_low']:.2f}, {one['r_high']:.2f}]", f"{one['q']:.2g}"]
                    print(f"| {' | '.join(cells)} |", flush=True)


def speed() -> None:
    """CPU seconds of a tile of 1024 x 1024 px, and of 50 genes by 11 features by 999 shifts."""
    rng = np.random.default_rng(0)
    axes = [(float(a), float(b), float(turn)) for a, b, turn in rng.uniform((6, 6, 0), (14, 14, 3), (784, 3))]
    strip = ellipses(axes)
    side = strip.shape[0]
    labels = np.zeros((28 * side, 28 * side), np.int32)
    for index in range(784):
        row, column = divmod(index, 28)
        labels[row * side : (row + 1) * side, column * side : (column + 1) * side] = strip[
            :, index * side : (index + 1) * side
        ]
    spent = []
    for _ in range(3):
        before = time.process_time()
        of_labels(labels, 0.25)
        spent.append(time.process_time() - before)
    print(f"{labels.shape[0]} x {labels.shape[1]} px, 784 nuclei: {min(spent):.3f} CPU s for {len(FEATURES)} features")
    for many in (2000, 100_000):
        xy_um = visium(0)[:many] if many < 10_000 else rng.uniform(0, 8000, (many, 2))
        names = [f"g{index}" for index in range(50)], [f"f{index}" for index in range(11)]
        units = Units(
            "spot", *names, rng.standard_normal((len(xy_um), 50)), rng.standard_normal((len(xy_um), 11)), xy_um, 1.0
        )
        before = time.process_time()
        _, said = correlate(units, Settings(), 1)
        print(f"{len(xy_um)} units: {time.process_time() - before:.1f} CPU s", json.dumps(said))


JOBS = {"discs": discs, "levels": levels, "cells": cells, "intervals": intervals, "planted": planted, "speed": speed}

if __name__ == "__main__":
    for what in sys.argv[1:] or ("discs", "levels", "cells", "intervals", "planted", "speed"):
        print(f"\n{what}")
        JOBS[what]()
