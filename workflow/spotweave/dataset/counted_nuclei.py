"""A sample's released AnnData with the nuclei of its spots counted."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np

from spotweave.dataset.spots import COMPRESSED
from spotweave.nuclei.spots import counts
from spotweave.nuclei.table import read_made_by

NUCLEI = "nuclei"


def count_nuclei(st: Path, nuclei: Path, target: Path) -> dict[str, Any]:
    """Write a sample's AnnData again with the nuclei in every spot's disc counted.

    A file of its own, so that patches and all that is learned from them do not depend on the nuclei.

    Parameters
    ----------
    st, nuclei
        `st.h5ad` and `nuclei/<model>.parquet`.
    target
        `st` with the columns of `nuclei.spots.counts` in `obs` and `uns['nuclei']` (`model`, `method`, `um_per_px`);
        with nothing added where the model could not be run.

    Returns
    -------
    Measures of the record: `nuclei_in_spots` of the spots in tissue, null where none were looked for.
    """
    shutil.copyfile(st, target)
    made_by = read_made_by(nuclei)
    if made_by.get("note"):
        return {"nuclei_in_spots": None}
    with h5py.File(target, "r+") as file:
        obs = anndata.io.read_elem(file["obs"])
        xy_px = np.asarray(file["obsm/spatial"])
        diameter_px = float(file["uns/spatial/ST/scalefactors/spot_diameter_fullres"][()])
        found = counts(nuclei, xy_px, diameter_px)
        obs[found.columns] = found.to_numpy()
        del file["obs"]
        anndata.io.write_elem(file, "obs", obs, dataset_kwargs=COMPRESSED)
        said = {name: made_by[name] for name in ("model", "method", "um_per_px")}
        anndata.io.write_elem(file["uns"], NUCLEI, said)
    return {"nuclei_in_spots": int(np.nansum(found[NUCLEI].to_numpy()[obs["in_tissue"].to_numpy(dtype=bool)]))}
