"""Counts meet places by name, and none is lost or made on the way."""

from types import SimpleNamespace

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from spotweave import pooling
from spotweave.placing import PLACED_COLUMNS
from spotweave.pooling import NO_PLACE, Pooled, pool_sample

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


def test_places_find_their_units_by_name():
    units, _ = pool_sample("none", expression(), placed())
    assert units.obs_names.tolist() == ["a", "b", "d"]
    np.testing.assert_array_equal(units.obs["x_px"], [10, 20, 40])
    np.testing.assert_array_equal(units.obs["vendor_y_px"], [15, 25, 45])
    assert units.obs["in_tissue"].tolist() == [1, 0, 1]
    assert units.obs["array_col"].tolist() == [0, 1, 3]
    np.testing.assert_array_equal(units.X.toarray(), COUNTS[[0, 1, 3]])


def test_every_count_is_in_a_unit_or_dropped_for_a_reason():
    _, conservation = pool_sample("none", expression(), placed())
    assert conservation == {
        "counts_in": 18,
        "counts_out": 13,
        "counts_dropped": {NO_PLACE: 5},
        "units_in": 4,
        "units_out": 3,
        "units_without_place": 1,
    }


def test_fractions_are_kept_as_they_are():
    _, conservation = pool_sample("none", expression(COUNTS * 0.25), placed())
    assert (conservation["counts_in"], conservation["counts_out"]) == (4.5, 3.25)


def test_a_sample_of_which_nothing_has_a_place_keeps_the_sum():
    units, conservation = pool_sample("none", expression(), placed().assign(x_px=np.nan))
    assert units.n_obs == 0
    assert (conservation["counts_out"], conservation["counts_dropped"]) == (0, {NO_PLACE: 18})


def test_a_unit_with_counts_that_is_not_among_the_placed_is_a_bug():
    with pytest.raises(ValueError, match="1 units with counts are not among the placed ones, 'b' first"):
        pool_sample("none", expression(), placed().query("unit_id != 'b'"))


@pytest.mark.parametrize(
    ("pool", "is_right"),
    [
        (lambda units: Pooled(units[:1].copy(), {}), False),
        (lambda units: Pooled(units[:1].copy(), {"between pseudo-spots": 9}), True),
        (lambda units: Pooled(anndata.concat([units, units]), {}), False),
    ],
)
def test_a_way_of_pooling_that_loses_or_makes_counts_is_a_bug(pool, is_right, monkeypatch):
    monkeypatch.setattr(pooling, "POOLINGS", SimpleNamespace(load=lambda name: SimpleNamespace(pool=pool)))
    if is_right:
        assert pool_sample("some", expression(), placed())[1]["counts_dropped"] == {
            NO_PLACE: 5,
            "between pseudo-spots": 9,
        }
    else:
        with pytest.raises(ValueError, match="'some' does not keep the counts"):
            pool_sample("some", expression(), placed())
