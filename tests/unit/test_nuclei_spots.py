"""Nuclei in the discs of spots, and nuclei matched with cells: against brute force and simulated truth."""

from __future__ import annotations

import json
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import shapely

from drawn_nuclei import write_store, write_table
from spotweave.io import read_json, write_json
from spotweave.nuclei.matching import cells_held, match, match_cells
from spotweave.nuclei.measuring import measure_spots
from spotweave.nuclei.morphology import FEATURES
from spotweave.nuclei.spots import MEASURED, counts, summaries
from spotweave.nuclei.table import read_nuclei
from spotweave.simulate.section_pair import draw_pair
from spotweave.simulate.xenium_section import draw_section
from spotweave.tissue.polygons import write_geojson

CLASSES = ["Neoplastic", "Dead cells"]
DIAMETER_PX = 110.0


def some_nuclei(seed: int, count: int = 400, side_px: float = 900.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(rng.lognormal(1, 0.4, (count, len(FEATURES))), columns=list(FEATURES)).astype(np.float32)
    table.insert(0, "y_px", np.sort(rng.uniform(0, side_px, count)))
    table.insert(0, "x_px", rng.uniform(0, side_px, count))
    table["class"] = np.array(CLASSES)[rng.integers(0, 2, count)]
    return table


@pytest.fixture
def nuclei(tmp_path: Path) -> Path:
    write_table(tmp_path / "nuclei.parquet", some_nuclei(1), 0.5, classes=CLASSES)
    return tmp_path / "nuclei.parquet"


def some_spots() -> np.ndarray:
    x, y = np.meshgrid(np.arange(50, 900, 200.0), np.arange(50, 900, 200.0))
    return np.stack([x.ravel(), y.ravel()], axis=1)


def test_counts_and_shares_are_those_of_brute_force(nuclei: Path) -> None:
    table, spots = some_nuclei(1), some_spots()
    found = counts(nuclei, spots, DIAMETER_PX)
    for row, (x, y) in enumerate(spots):
        inside = table[np.hypot(table["x_px"] - x, table["y_px"] - y) <= DIAMETER_PX / 2]
        assert found["nuclei"][row] == len(inside)
        assert found["nuclei_share_dead_cells"][row] == pytest.approx((inside["class"] == "Dead cells").mean())
    assert found["nuclei"].sum() > 50
    assert list(found) == ["nuclei", "nuclei_share_neoplastic", "nuclei_share_dead_cells"]


def test_summaries_are_those_of_pandas(nuclei: Path) -> None:
    table, spots = read_nuclei(nuclei, ["class", *MEASURED]), some_spots()
    table.columns.loc[::7, "area_um2"] = np.nan  # cut by the border
    tissue_mm2 = np.linspace(0, 0.002, len(spots))
    found = summaries(table, spots, DIAMETER_PX, tissue_mm2)
    for row, (x, y) in enumerate(spots):
        inside = table.columns[np.hypot(*(table.xy_px - (x, y)).T) <= DIAMETER_PX / 2]
        for name in ("area_um2", "roughness", "crowdedness_um"):
            values = inside[name].astype(np.float64)
            expected = [values.mean(), values.median(), values.std(), values.quantile(0.1), values.quantile(0.9)]
            got = [found[f"{name}_{what}"][row] for what in ("mean", "median", "std", "p10", "p90")]
            assert got == pytest.approx(expected, rel=1e-5, nan_ok=True), name
        if row:
            assert found["nuclei_per_mm2"][row] == pytest.approx(len(inside) / tissue_mm2[row])
    assert np.isnan(found["nuclei_per_mm2"][0])


def test_no_nuclei_is_not_the_same_as_not_looked_for(tmp_path: Path) -> None:
    spots = np.array([[10.0, 10.0], [np.nan, np.nan]])
    write_table(tmp_path / "none.parquet", some_nuclei(1)[:0], 0.5, classes=CLASSES)
    write_table(tmp_path / "unfit.parquet", some_nuclei(1)[:0], 0.5, classes=[], note="the slide is too coarse")
    none, unfit = (counts(tmp_path / f"{name}.parquet", spots, 50.0) for name in ("none", "unfit"))
    assert none["nuclei"].to_numpy() == pytest.approx([0, np.nan], nan_ok=True)
    assert none["nuclei_share_neoplastic"].isna().all()
    assert unfit["nuclei"].isna().all()


def test_the_table_of_spots(tmp_path: Path, nuclei: Path) -> None:
    obs = pd.DataFrame({"in_tissue": [True] * 20 + [False] * 5}, index=[f"spot{number}" for number in range(25)])
    spots = anndata.AnnData(np.zeros((25, 1), np.float32), obs=obs)
    spots.obsm["spatial"] = some_spots()
    spots.uns["spatial"] = {"ST": {"scalefactors": {"spot_diameter_fullres": DIAMETER_PX}}}
    spots.write_h5ad(tmp_path / "st.h5ad")
    write_json(tmp_path / "alignment.json", {"pixel_size_um": 0.5})
    write_geojson(tmp_path / "tissue.geojson", [shapely.box(0, 0, 900, 250)], 0.5)
    files = tmp_path / "st.h5ad", nuclei, tmp_path / "tissue.geojson", tmp_path / "alignment.json"
    measures = measure_spots(*files, tmp_path / "spots.parquet")
    written = pq.read_table(tmp_path / "spots.parquet")
    found = written.to_pandas()
    assert found["barcode"].tolist() == spots.obs_names.tolist()
    area_mm2 = np.pi * (DIAMETER_PX / 2 * 0.5) ** 2 / 1e6
    assert found["nuclei_per_mm2"][6] == pytest.approx(found["nuclei"][6] / area_mm2 * 2, rel=0.01)  # half on tissue
    assert found["nuclei_per_mm2"][10:].isna().all()  # glass
    assert measures["nuclei_in_spots"] == found["nuclei"][:20].sum()
    said = json.loads(written.schema.metadata[b"spotweave"])
    assert (said["model"], said["spot_diameter_um"]) == ("truth", 55.0)


# Matching


def test_pairs_are_mutual_unique_and_near() -> None:
    cells = np.array([[0.0, 0], [10, 0], [30, 0], [60, 0], [80, 0]])
    nuclei = np.array([[1.0, 0], [9, 0], [12, 0], [30, 1], [60, 7], [83, 0]])
    nucleus, cell, distance, shares = match(nuclei, cells, np.zeros(6, int), 5.0)
    # Two nuclei claim the second cell, and the fourth cell is too far.
    assert list(zip(nucleus.tolist(), cell.tolist(), strict=True)) == [(0, 0), (3, 2), (5, 4)]
    assert distance.tolist() == [1.0, 1.0, 3.0]
    assert shares == {"kept_share": 0.5, "unique_share": 0.6667, "within_share": 0.8333, "several_share": 0.0}
    nucleus, _, _, shares = match(nuclei, cells, np.array([2, 0, 0, 1, 0, 0]), 5.0)
    assert (nucleus.tolist(), shares["several_share"]) == ([3, 5], 0.1667)


def test_a_nucleus_that_is_not_its_cells_nearest_is_left_out() -> None:
    # The first nucleus alone claims the first cell, but that lies nearer to the second nucleus, which has its own.
    nucleus, cell, _, shares = match(
        np.array([[-3.0, 0], [2, 0]]), np.array([[0.0, 0], [2.5, 0]]), np.ones(2, int), 5.0
    )
    assert (nucleus.tolist(), cell.tolist(), shares["unique_share"]) == ([1], [1], 1.0)


def test_nothing_to_match() -> None:
    none, some = np.zeros((0, 2)), np.ones((3, 2))
    assert match(none, some, np.zeros(0, int))[3]["kept_share"] is None
    assert match(some, none, np.zeros(3, int))[3]["kept_share"] == 0
    assert len(match(some, none, np.zeros(3, int))[0]) == 0


def test_an_outline_that_holds_two_cells_is_no_cells(tmp_path: Path) -> None:
    table = some_nuclei(2, 3).assign(x_px=[10.0, 50, 90], y_px=[10.0, 11, 12], area_um2=[60.0, 60, 60])
    write_table(tmp_path / "nuclei.parquet", table, 0.5)  # radius 8.7 px
    cells = np.array([[9.0, 10], [47, 11], [55, 11], [120, 12]])
    assert cells_held(tmp_path / "nuclei.parquet", cells).tolist() == [1, 2, 0]


def test_cells_of_a_simulated_section_are_found_again(tmp_path: Path) -> None:
    """A tenth of the nuclei missed, a tenth more that are no cells', the registration 1.5 um off."""
    pair = draw_pair(4, size_um=(400.0, 400.0), he_pixel_size_um=0.5, dapi_pixel_size_um=4.0)
    section = draw_section(pair, 4)
    store, which = write_store(tmp_path, section)
    rng = np.random.default_rng(0)
    nuclei = read_nuclei(store.nuclei, list(FEATURES))
    table = pd.DataFrame(nuclei.xy_px + 3.0 / np.sqrt(2), columns=["x_px", "y_px"]).join(nuclei.columns)
    seen = rng.random(len(table)) < 0.9
    false = table.sample(len(table) // 10, random_state=1).assign(
        x_px=lambda rows: rng.uniform(0, 800, len(rows)), y_px=lambda rows: rng.uniform(0, 800, len(rows))
    )
    write_table(store.nuclei, pd.concat([table[seen], false], ignore_index=True), 0.5)
    truth = np.concatenate([which[seen], np.full(len(false), -1)])
    measures = match_cells(store.nuclei, store.cells, store.alignment, tmp_path / "matches.parquet")
    pairs = pq.read_table(tmp_path / "matches.parquet").to_pandas()
    found = truth[pairs["nucleus"]] == pairs["cell"].str.removeprefix("cell").astype(int)
    assert found.mean() > 0.97
    assert found.sum() > 0.9 * seen.sum()
    assert measures["matched"] == len(pairs)
    assert measures["area_r"] > 0.8
    assert measures["kept_share"] == pytest.approx(len(pairs) / len(truth), abs=1e-4)
    assert (pairs["distance_um"] <= 5).all()
    assert read_json(store.alignment)["pixel_size_um"] == 0.5
