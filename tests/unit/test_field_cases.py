"""Small inputs that people in the field have had, where they are at hand: read as the right ones beside them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from real_data import NOT_HERE, SHARED
from spotweave.deposits.raw import RawFile
from spotweave.matrices.reading import Reading
from spotweave.readers.visium import read as visium
from spotweave.visium.positions import read_positions
from spotweave.visium.scalefactors import read_scalefactors

CASES = SHARED / "cases"
needs_cases = pytest.mark.skipif(not CASES.exists(), reason=f"{NOT_HERE}{CASES}")


def raw(path: str) -> RawFile:
    return RawFile(Path(path).name, CASES / path)


def read(counts: str, spots: str) -> Reading:
    return visium.read({"counts": raw(counts), "spots": raw(spots)})


def assert_same(one: Reading, other: Reading) -> None:
    assert one.adata.var_names.tolist() == other.adata.var_names.tolist()
    assert one.adata.obs_names.tolist() == other.adata.obs_names.tolist()
    assert (one.adata.X != other.adata.X).nnz == 0


@needs_cases
def test_biotypes_are_genes() -> None:
    found, right = (read(f"h5ad_biotypes/{name}.h5ad", f"h5ad_biotypes/{name}.h5ad") for name in ("a", "ok"))
    assert found.adata.n_vars == 60
    assert_same(found, right)


@needs_cases
def test_a_row_of_totals_is_no_gene() -> None:
    spots = "summary_rows/tissue_positions.csv"
    found, right = read("summary_rows/total.csv", spots), read("summary_rows/right.csv", spots)
    assert_same(found, right)
    assert found.report["summary_genes_left_out"] == {"Total": 1}
    assert right.report["summary_genes_left_out"] == {}


@needs_cases
@pytest.mark.parametrize(("name", "fiducial"), [("a", 210.0), ("b", None)])
def test_scale_factors_of_r_are_read(name: str, fiducial: float | None) -> None:
    numbers, notes = read_scalefactors(raw(f"scalefactors_from_r/{name}.json"))
    assert notes == []
    assert (numbers["spot_diameter_fullres"], numbers["tissue_hires_scalef"]) == (130.0, 0.17)
    assert numbers.get("fiducial_diameter_fullres") == fiducial


@needs_cases
@pytest.mark.parametrize("name", ["sep.csv", "blanks.txt", "blank_rows.csv", "utf16.txt", "na.csv", "comment.csv"])
def test_positions_by_hand_are_read(name: str) -> None:
    right = read_positions(raw("summary_rows/tissue_positions.csv"))
    found = read_positions(raw(f"positions_by_hand/{name}"))
    left_out = 1 if name == "na.csv" else 0
    assert found.report["positions_without_numbers"] == left_out
    pd.testing.assert_frame_equal(found.table, right.table.iloc[left_out:].reset_index(drop=True))
