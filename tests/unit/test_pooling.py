"""Counts meet places by name, and none is lost or made on the way."""

from types import SimpleNamespace

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from spotweave import pooling
from spotweave.placing import PLACED_COLUMNS
from spotweave.pooling import CONSERVATION, NO_PLACE, UNITS, Parts, Pooled, by_gene, has_grids, join, pool_sample

COUNTS = np.array([[0, 3, 1], [2, 0, 0], [0, 0, 5], [7, 0, 0]])


def expression(counts=COUNTS):
    obs = pd.DataFrame({"array_col": [0, 1, 2, 3], "x_px": 0.0, "y_px": 0.0, "in_tissue": 0}, index=list("abcd"))
    return anndata.AnnData(
        X=sparse.csr_matrix(counts.astype(np.float32)), obs=obs, var=pd.DataFrame(index=["A", "B", "C"])
    )


def placed():
    """In another order than the counts, with one unit that has no counts, and one ('c') that has no place."""
    units = pd.DataFrame({"unit_id": list("dxcba"), "in_tissue": [1, 1, 1, 0, 1]})
    for shift, column in enumerate(PLACED_COLUMNS[2:]):
        units[column] = np.array([40.0, 50.0, np.nan, 20.0, 10.0]) + shift
    return units


@pytest.fixture
def pool(tmp_path):
    """`pool_sample` of counts and places that are in files."""

    def pooled(way="none", counts=COUNTS, places=None, grids=()):
        parts = Parts(tmp_path / "expression.h5ad", tmp_path / "alignment.json", tmp_path / "units.parquet")
        expression(counts).write_h5ad(parts.expression)
        (placed() if places is None else places).to_parquet(parts.units, index=False)
        return pool_sample(way, parts, grids)

    return pooled


def test_places_find_their_units_by_name(pool):
    units = pool()[0][UNITS]
    assert units.obs_names.tolist() == ["a", "b", "d"]
    np.testing.assert_array_equal(units.obs["x_px"], [10, 20, 40])
    np.testing.assert_array_equal(units.obs["vendor_y_px"], [15, 25, 45])
    assert units.obs["in_tissue"].tolist() == [1, 0, 1]
    assert units.obs["array_col"].tolist() == [0, 1, 3]
    np.testing.assert_array_equal(units.X.toarray(), COUNTS[[0, 1, 3]])


def test_every_count_is_in_a_unit_or_dropped_for_a_reason(pool):
    assert pool()[1] == {
        "conservation": {UNITS: {"counts_in": 18, "counts_out": 13, "counts_dropped": {NO_PLACE: 5}, "units_out": 3}},
        "units_in": 4,
        "units_without_place": 1,
    }


def test_fractions_are_kept_as_they_are(pool):
    conservation = pool(counts=COUNTS * 0.25)[1][CONSERVATION][UNITS]
    assert (conservation["counts_in"], conservation["counts_out"]) == (4.5, 3.25)


def test_a_sample_of_which_nothing_has_a_place_keeps_the_sum(pool):
    pools, measures = pool(places=placed().assign(x_px=np.nan))
    assert pools[UNITS].n_obs == 0
    conservation = measures[CONSERVATION][UNITS]
    assert (conservation["counts_out"], conservation["counts_dropped"]) == (0, {NO_PLACE: 18})


def test_a_unit_with_counts_that_is_not_among_the_placed_is_a_bug(pool):
    with pytest.raises(ValueError, match="1 units with counts are not among the placed ones, 'b' first"):
        pool(places=placed().query("unit_id != 'b'"))


def loses(joined, units):
    return Pooled({UNITS: units[:1].copy()}, joined.counts_in, {UNITS: {NO_PLACE: joined.dropped}})


def says_what_it_drops(joined, units):
    dropped = {NO_PLACE: joined.dropped, "between pseudo-spots": by_gene(units[1:])}
    return Pooled({UNITS: units[:1].copy()}, joined.counts_in, {UNITS: dropped})


def makes(joined, units):
    twice = anndata.concat([units, units], index_unique="-")
    return Pooled({UNITS: twice}, joined.counts_in, {UNITS: {NO_PLACE: joined.dropped}})


def exchanges(joined, units):
    """The sum is right, of genes it is not."""
    other = units.copy()
    other.X = units.X[:, [1, 0, 2]]
    return Pooled({UNITS: other}, joined.counts_in, {UNITS: {NO_PLACE: joined.dropped}})


def invents(joined, units):
    dropped = {NO_PLACE: joined.dropped, "more": pd.Series([0], index=["D"])}
    return Pooled({UNITS: units}, joined.counts_in, {UNITS: dropped})


@pytest.mark.parametrize(
    ("made", "fault"),
    [
        (loses, "'some' does not keep the counts of units: 18 in, 9 out and dropped, 1 features differ, ..A.. first"),
        (says_what_it_drops, None),
        (makes, "'some' does not keep the counts of units: 18 in, 31 out and dropped, 3 features differ"),
        (exchanges, "'some' does not keep the counts of units: 18 in, 18 out and dropped, 2 features differ"),
        (invents, "'some', units: more has features that did not come in"),
    ],
)
def test_a_way_of_pooling_that_loses_or_makes_counts_is_a_bug(made, fault, pool, monkeypatch):
    def way(parts, grids, options):
        joined = join(parts)
        return made(joined, joined.placed)

    monkeypatch.setattr(pooling, "POOLINGS", SimpleNamespace(load=lambda name: SimpleNamespace(pool=way)))
    if fault is None:
        dropped = pool("some")[1][CONSERVATION][UNITS]["counts_dropped"]
        assert dropped == {NO_PLACE: 5, "between pseudo-spots": 9}
    else:
        with pytest.raises(ValueError, match=fault):
            pool("some")


def test_a_way_makes_the_pools_it_was_asked_for(pool):
    assert not has_grids("none")
    with pytest.raises(ValueError, match=r"'none' made the pools \['units'\], not \['square_55um'\]"):
        pool("none", grids=["square_55um"])
    with pytest.raises(ValueError, match="'round_55um' is no grid"):
        pool("none", grids=["round_55um"])
