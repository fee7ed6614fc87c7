"""Bins and cells pooled into spots: every count where a slow sum over single units has it."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from spotweave import placing, pooling
from spotweave.align.lattice import Picture
from spotweave.deposits.raw import RawFile
from spotweave.errors import Refusal
from spotweave.geometry import apply
from spotweave.matrices.reading import read_spots
from spotweave.placing import transform
from spotweave.pool import units as placed
from spotweave.pool.grids import Grid
from spotweave.pool.sums import Sums
from spotweave.pooling import bins as pooling_bins
from spotweave.readers.visium_hd import read as visium_hd
from spotweave.simulate.visium_hd import PIXEL_SIZE_UM, VARIANTS, draw_truth

LIMITS = {
    "pixel_size_max_um": 1.15,
    "pixel_size_min_um": 0.1,
    "residual_max_um": 27.5,
    "anisotropy_max": 0.03,
    "spots_outside_max": 0.01,
    "spots_off_lattice_max": 0.02,
    "agreement_min": 0.2,
    "agreement_bins_min": 0.7,
    "edge_auc_flagged": 0.9,
    "rival_gain_max": 0.1,
    "rival_gain_flagged": 0.05,
}
SIDE_PX = 25_000
WHITE = np.full((100, 100, 3), 235, np.uint8)


def chain(folder: Path, variant: str, grids: list[str]):
    """Read, place and pool a simulated deposit, through the files of the stages."""
    files = {role: RawFile(path.name, path) for role, path in VARIANTS[variant].write(folder, draw_truth()).items()}
    reading = visium_hd.read(files, member=VARIANTS[variant].member)
    reading.write(folder / "expression.h5ad", folder / "spots.csv")
    scale = (SIDE_PX / 100, SIDE_PX / 100)
    placement = transform.place_units(
        read_spots(folder / "spots.csv"),
        reading.report,
        Picture("he.tif", (SIDE_PX, SIDE_PX)),
        lambda factor: (WHITE, scale),
        placing.Options((None, None), None),
        LIMITS,
    )
    placement.write(folder / "alignment.json", folder / "units.parquet")
    parts = pooling.Parts(folder / "expression.h5ad", folder / "alignment.json", folder / "units.parquet")
    return reading, *pooling.pool_sample("bins", parts, grids)


# --- sums -----------------------------------------------------------------------------------------


def test_two_units_of_one_spot_are_summed_where_an_assignment_by_index_keeps_the_last():
    counts = sparse.csr_matrix(np.array([[1, 0], [2, 5], [4, 0]], dtype=np.float32))
    spot = np.array([0, 0, 0])
    lost = np.zeros((1, 2))
    lost[spot] += counts.toarray()
    sums = Sums(spot, 1, 2)
    sums.add(counts, 12)
    np.testing.assert_array_equal(sums.result().toarray(), [[7, 5]])
    np.testing.assert_array_equal(lost, [[4, 0]])


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_sums_are_those_of_one_unit_at_a_time_however_they_are_cut(data):
    units, genes, spots = (data.draw(st.integers(1, most)) for most in (40, 6, 8))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    counts = rng.integers(0, 4, (units, genes)) * (rng.random((units, genes)) < 0.4)
    spot = rng.integers(0, spots, units)
    expected = np.zeros((spots, genes), dtype=np.int64)
    for unit in range(units):
        expected[spot[unit]] += counts[unit]
    sums = Sums(spot, spots, genes)
    cuts = sorted({0, units, *data.draw(st.lists(st.integers(0, units), max_size=4))})
    for first, last in itertools.pairwise(cuts):
        block = counts[first:last]
        sums.add(sparse.csr_matrix(block.astype(np.float32)), int(block.sum()))
    found = sums.result()
    np.testing.assert_array_equal(found.toarray(), expected)
    assert found.has_canonical_format and found.dtype == np.int32 and found.indices.dtype == np.int32


def test_sums_beyond_32_bits_are_right():
    block = sparse.csr_matrix(np.full((200, 1), 2**24, dtype=np.float32))
    sums = Sums(np.zeros(400, dtype=np.int64), 1, 1)
    sums.add(block, 200 * 2**24)
    sums.add(block, 200 * 2**24)
    found = sums.result()
    assert found.dtype == np.int64
    assert found[0, 0] == 400 * 2**24


def test_sums_of_some_units_only_are_no_result():
    sums = Sums(np.zeros(3, dtype=np.int64), 1, 1)
    sums.add(sparse.csr_matrix((2, 1), dtype=np.float32), 0)
    with pytest.raises(ValueError, match="2 of 3 units"):
        sums.result()


# --- spots ----------------------------------------------------------------------------------------


def array_of(size_um: float, rows: int, columns: int, matrix):
    row, column = (axis.ravel() for axis in np.mgrid[:rows, :columns])
    return placed.Array(size_um, np.column_stack([column, row]), np.asarray(matrix, dtype=np.float64))


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_every_unit_is_in_the_spot_that_its_centre_lies_in(data):
    layout = data.draw(st.sampled_from(["square", "hexagonal", "hest"]))
    grid = Grid.of(f"{layout}_{data.draw(st.integers(5, 60))}um")
    turn = np.deg2rad(data.draw(st.floats(0, 360)))
    pixel_um = data.draw(st.floats(0.2, 1.0))
    hand = data.draw(st.sampled_from([1, -1]))
    size_um = data.draw(st.integers(1, int(grid.size_um)))
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) * np.array([hand, 1])
    matrix = np.eye(3)
    matrix[:2, :2], matrix[:2, 2] = rotation / pixel_um, 400
    array = array_of(size_um, 9, 7, matrix)
    xy_px = apply(matrix, (array.column_row + 0.5) * size_um)
    xy_px[data.draw(st.integers(0, 62))] = np.nan
    wide = int(np.nanmax(xy_px[:, 0])) - data.draw(st.integers(0, 3))
    in_tissue = np.arange(63) % 3 > 0
    units = placed.Units(xy_px, in_tissue, (wide, 10_000), pixel_um, array)
    found = placed.assign(grid, units)
    spots = found.spots
    assert spots["name"].is_unique and spots["name"].is_monotonic_increasing
    inside = {}
    for unit, (x, y) in enumerate(xy_px):
        number = found.spot[unit]
        reason = placed.REASONS[number - len(spots)] if number >= len(spots) else None
        if np.isnan(x):
            assert reason == placed.WITHOUT_PLACE
            continue
        if not (0 <= x < wide and 0 <= y < 10_000):
            assert reason == placed.OFF_PICTURE
            continue
        off_um = np.abs(spots[["x_px", "y_px"]].to_numpy() - (x, y)) * pixel_um
        if layout == "hexagonal":
            near = np.flatnonzero(np.hypot(*off_um.T) < grid.size_um / 2 * (1 + 1e-9))
        else:
            near = np.flatnonzero((off_um <= grid.size_um / 2 * (1 + 1e-9)).all(axis=1))
        assert number in near if reason is None else (layout == "hexagonal" and reason == placed.BETWEEN)
        if reason is None:
            inside.setdefault(number, []).append(unit)
    assert spots["units"].tolist() == [len(inside[number]) for number in range(len(spots))]
    assert spots["units_in_tissue"].tolist() == [in_tissue[inside[number]].sum() for number in range(len(spots))]


def test_a_spot_is_in_tissue_where_bins_in_tissue_cover_half_of_it():
    array = array_of(2, 8, 8, np.diag([1, 1, 1]))
    xy_px = (array.column_row + 0.5) * 2
    in_tissue = np.zeros(64, dtype=bool)
    in_tissue[np.flatnonzero((xy_px < 8).all(axis=1))[:8]] = True  # 8 of the 16 bins of the first square
    in_tissue[np.flatnonzero((xy_px > 8).all(axis=1))[:7]] = True  # 7 of those of the last
    found = placed.assign(Grid.of("square_8um"), placed.Units(xy_px, in_tissue, (100, 100), 1.0, array))
    assert found.spots["in_tissue"].tolist() == [1, 0, 0, 0]
    assert found.spots["units_in_tissue"].tolist() == [8, 0, 0, 7]


def test_spots_that_reach_beyond_the_array_or_the_picture_are_partial():
    matrix = np.eye(3)
    matrix[:2, 2] = 8
    array = array_of(2, 12, 12, matrix)  # from 8 to 32 px
    xy_px = apply(matrix, (array.column_row + 0.5) * 2)
    units = placed.Units(xy_px, np.ones(144, dtype=bool), (100, 30), 1.0, array)
    whole = placed.assign(Grid.of("square_8um"), units).spots
    assert len(whole) == 9
    assert whole["is_partial"].tolist() == [row == 3 for row in whole["array_row"]]  # the picture ends at 30
    shifted = placed.assign(Grid.of("square_10um"), units).spots
    assert shifted.loc[~shifted["is_partial"], "name"].tolist() == ["0001x0001", "0001x0002", "0002x0001", "0002x0002"]


@pytest.mark.parametrize(
    ("grid", "has_array", "said"),
    [
        ("square_10um", True, "square_10um: spots smaller than the bins, which have 16 um"),
        ("bins_24um", True, "bins_24um: no multiple of the bins, which have 16 um"),
        ("bins_16um", False, "bins_16um: cells have no array"),
    ],
)
def test_a_grid_that_units_cannot_fill_is_refused(grid, has_array, said):
    array = array_of(16, 2, 2, np.eye(3)) if has_array else None
    units = placed.Units(np.ones((4, 2)), np.ones(4, dtype=bool), (100, 100), 1.0, array)
    with pytest.raises(Refusal) as refusal:
        placed.assign(Grid.of(grid), units)
    assert said in refusal.value.reason


# --- the chain ------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", ["raw", "mex_plain", "square_002um", "square_008um", "shuffled"])
def test_larger_bins_of_whole_smaller_ones_are_the_vendors(variant, tmp_path):
    truth = draw_truth()
    size_um = VARIANTS[variant].size_um
    sizes = [size for size in (2, 8, 16, 32, 64) if size >= size_um]
    reading, pools, _ = chain(tmp_path, variant, [f"bins_{size}um" for size in sizes])
    genes = reading.adata.var_names
    for size in sizes:
        larger, pool = truth.bins(size), pools[f"bins_{size}um"]
        np.testing.assert_array_equal(pool.X.toarray(), larger.counts)
        np.testing.assert_array_equal(pool.obs[["array_row", "array_col"]], larger.array)
        np.testing.assert_allclose(pool.obs[["x_px", "y_px"]], larger.pixels, atol=1e-6)
        assert pool.var_names.equals(genes) and pool.X.dtype == np.int32
        assert not pool.obs["is_partial"].any()
    assert all(pool.X.sum() == reading.adata.X.sum() for pool in pools.values())


@pytest.mark.parametrize("variant", ["square_002um", "square_016um", "raw", "cells", "early_software"])
def test_pseudo_spots_hold_what_a_slow_sum_over_units_finds(variant, tmp_path):
    grids = ["square_20um", "hexagonal_20um", "hest_30um", "square_55um"]
    reading, pools, measures = chain(tmp_path, variant, grids)
    counts = reading.adata.X.toarray()
    um = reading.adata.obs[["x_px", "y_px"]].to_numpy() * measures_px(tmp_path)
    for name, pool in pools.items():
        grid = Grid.of(name)
        origin = tuple(pool.uns["grid"]["origin_um"])
        expected: dict[str, np.ndarray] = {}
        for unit, (row, column) in enumerate(zip(*grid.places(um, origin), strict=True)):
            spot = f"{row:04d}x{column:04d}"
            if (row, column) != (-1, -1):
                expected[spot] = expected.get(spot, 0) + counts[unit]
        for spot, values in expected.items():
            np.testing.assert_array_equal(pool[spot].X.toarray()[0], values)
        others = ~pool.obs_names.isin(list(expected))
        assert pool[others].X.sum() == 0
        kept = measures["conservation"][name]
        assert kept["counts_out"] == pool.X.sum() == sum(values.sum() for values in expected.values())
        assert kept["counts_in"] == counts.sum() == kept["counts_out"] + sum(kept["counts_dropped"].values())
        table = pool.uns["conservation"]
        np.testing.assert_array_equal(table["counts_in"], counts.sum(axis=0))
        np.testing.assert_array_equal(table.drop(columns="counts_in").sum(axis=1), table["counts_in"])
        assert pool.uns["grid"]["name"] == name


def measures_px(folder: Path) -> float:
    found = json.loads((folder / "alignment.json").read_text())["pixel_size_um"]
    assert found == pytest.approx(PIXEL_SIZE_UM, rel=1e-6)
    return found


def test_bins_off_the_picture_and_off_their_lattice_are_left_out_and_counted(tmp_path):
    chain(tmp_path, "square_008um", ["square_55um"])
    units = pd.read_parquet(tmp_path / "units.parquet")
    expression = anndata.read_h5ad(tmp_path / "expression.h5ad")
    totals = pd.Series(np.asarray(expression.X.sum(axis=1)).ravel(), index=expression.obs_names)
    lost, off = expression.obs_names[[3, 40]], expression.obs_names[[7]]
    units = units.set_index("unit_id")
    units.loc[lost, ["x_px", "y_px"]] = np.nan
    units.loc[off, "x_px"] = SIDE_PX + 1.0
    units.reset_index().to_parquet(tmp_path / "units.parquet")
    parts = pooling.Parts(tmp_path / "expression.h5ad", tmp_path / "alignment.json", tmp_path / "units.parquet")
    _, measures = pooling.pool_sample("bins", parts, ["square_55um"])
    dropped = measures["conservation"]["square_55um"]["counts_dropped"]
    assert dropped == {
        placed.WITHOUT_PLACE: totals[lost].sum(),
        placed.OFF_PICTURE: totals[off].sum(),
        placed.BETWEEN: 0,
    }


def test_blocks_of_any_size_give_the_same_pool(tmp_path, monkeypatch):
    _, one, _ = chain(tmp_path, "square_002um", ["square_20um", "bins_8um"])
    monkeypatch.setattr(pooling_bins, "ENTRIES_AT_ONCE", 7)
    parts = pooling.Parts(tmp_path / "expression.h5ad", tmp_path / "alignment.json", tmp_path / "units.parquet")
    many, _ = pooling.pool_sample("bins", parts, ["square_20um", "bins_8um"])
    for name, pool in one.items():
        assert (pool.X != many[name].X).nnz == 0
        pd.testing.assert_frame_equal(pool.obs, many[name].obs)


@pytest.mark.parametrize("what", ["another name", "another place"])
def test_counts_of_units_that_were_not_placed_are_a_bug(what, tmp_path):
    chain(tmp_path, "square_016um", ["square_55um"])
    expression = anndata.read_h5ad(tmp_path / "expression.h5ad")
    if what == "another name":
        expression.obs_names = ["s_016um_00000_00000-1", *expression.obs_names[1:]]
    else:
        expression.obs["array_row"] += 1000
    expression.write_h5ad(tmp_path / "expression.h5ad")
    parts = pooling.Parts(tmp_path / "expression.h5ad", tmp_path / "alignment.json", tmp_path / "units.parquet")
    with pytest.raises(ValueError, match="not among the placed"):
        pooling.pool_sample("bins", parts, ["square_55um"])
