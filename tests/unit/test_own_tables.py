"""Our own tables read without anndata, pandas and scipy.stats are what those make of them."""

from __future__ import annotations

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.stats
from scipy import sparse

from spotweave import h5ad, parquet
from spotweave.ranks import mean_ranks, spearman

COUNTS = np.array([[0, 3, 1], [2, 0, 0]], dtype=np.float32)
SPARSE = sparse.csr_matrix(COUNTS)


def written(path, counts=SPARSE, **columns):
    obs = pd.DataFrame({"in_tissue": [True, False], "array_col": [4, 7], "x_px": [1.5, np.nan]}, index=["a-1", "ü"])
    var = pd.DataFrame({"gene_id": ["", "", "ENSG1"], **columns}, index=["G1", "G2", "g"])
    anndata.AnnData(counts, obs=obs, var=var).write_h5ad(path, compression="gzip")
    return path


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csc_matrix, np.asarray])
def test_names_columns_and_counts_are_those_that_anndata_reads(tmp_path, kind):
    path = written(tmp_path / "one.h5ad", kind(COUNTS), text=["p", "q", "r"])
    expected = anndata.read_h5ad(path)
    assert str(expected.var["gene_id"].dtype) == "category"  # what anndata makes of repeated texts
    with h5py.File(path) as file:
        for name in ("obs", "var"):
            table = getattr(expected, name)
            assert h5ad.names(file[name]).tolist() == table.index.tolist()
            for column in table:
                assert h5ad.has_column(file[name], column)
                found, there = h5ad.column(file[name], column), table[column].to_numpy()
                pd.testing.assert_series_equal(pd.Series(found), pd.Series(np.asarray(there)))
        assert not h5ad.has_column(file["obs"], "array_row")
        counts = h5ad.counts(file)
    assert isinstance(counts, sparse.csr_matrix)
    assert counts.dtype == np.float32
    assert np.array_equal(counts.toarray(), COUNTS)


@pytest.mark.parametrize("missing", [pd.Categorical(["p", None, "p"]), pd.array([1, None, 2], dtype="Int64")])
def test_missing_values_of_names_and_whole_numbers_are_no_values(tmp_path, missing):
    with h5py.File(written(tmp_path / "one.h5ad", odd=missing)) as file, pytest.raises(ValueError, match="odd"):
        h5ad.column(file["var"], "odd")


def test_numbers_of_a_parquet_file_are_those_that_pandas_reads(tmp_path):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"x": rng.normal(size=1000), "small": rng.normal(size=1000).astype(np.float32)})
    table.loc[rng.random(1000) < 0.1, ["x", "small"]] = np.nan
    table = table.assign(n=np.arange(1000), name="text", whole=pd.array([None, *range(999)], dtype="Int64"))
    path = tmp_path / "one.parquet"
    table.to_parquet(path, index=False, row_group_size=300)
    expected = pd.read_parquet(path)
    for name, found in zip(("n", "small", "x"), parquet.numbers(path, ["n", "small", "x"]), strict=True):
        np.testing.assert_array_equal(found, expected[name].to_numpy())
        assert found.dtype == expected[name].dtype
    for wrong in ("name", "whole"):
        with pytest.raises(ValueError, match=wrong):
            parquet.numbers(path, [wrong])
    table[:0].to_parquet(path, index=False)
    assert [len(found) for found in parquet.numbers(path, ["x", "n"])] == [0, 0]


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64])
def test_ranks_and_their_correlation_are_those_of_scipy(dtype):
    rng = np.random.default_rng(1)
    for size in (1, 2, 7, 500):
        first, second = (rng.integers(0, max(2, size // 3), size).astype(dtype) for _ in range(2))
        assert np.array_equal(mean_ranks(first), scipy.stats.rankdata(first))
        if np.ptp(first) and np.ptp(second):
            assert spearman(first, second) == pytest.approx(scipy.stats.spearmanr(first, second).statistic, abs=1e-14)


def test_a_vector_with_nan_has_no_ranks():
    values = np.array([1.0, np.nan, 0.0])
    assert np.array_equal(mean_ranks(values), scipy.stats.rankdata(values), equal_nan=True)
