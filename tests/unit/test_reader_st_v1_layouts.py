"""Every layout of Spatial Transcriptomics deposits is read to the same counts, names and places."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spotweave.deposits.raw import RawFile
from spotweave.readers.st_v1 import read as st_v1
from spotweave.simulate.st_v1_layouts import VARIANTS, Truth, draw_truth


@pytest.fixture(scope="module")
def truth() -> Truth:
    return draw_truth()


@pytest.mark.parametrize("name", VARIANTS)
def test_a_layout_is_read_to_the_truth(name: str, tmp_path: Path, truth: Truth) -> None:
    variant = VARIANTS[name]
    files = {role: RawFile(path.name, path) for role, path in variant.write(tmp_path, truth).items()}
    reading = st_v1.read(files, member=variant.member)
    adata = reading.adata
    assert list(adata.obs_names) == [f"{x}x{y}" for x, y in truth.array]
    assert (adata.X.toarray() == truth.counts).all()
    assert adata.X.dtype == np.float32
    assert (adata.obs[["array_col", "array_row"]].to_numpy() == truth.array).all()
    np.testing.assert_allclose(adata.obs[["x_px", "y_px"]].to_numpy(), truth.pixels, atol=5e-4, rtol=0)
    assert adata.obs["in_tissue"].eq(1).all()
    if variant.gene_form in ("symbol", "both"):
        assert list(adata.var_names) == truth.genes
    if variant.gene_form != "symbol":
        assert list(adata.var["gene_id"]) == truth.gene_ids
    assert reading.report["counts_without_spot"] == int(variant.more_counts)
    assert reading.report["spots_without_counts"] == int(variant.more_spots)
