"""Cells with their counts, on the slide: of technologies that have cells, whatever their counts are pooled into."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from spotweave.io import read_json
from spotweave.pooling import CONSERVATION, UNITS, Parts, pool_sample

BY = "none"  # each cell is a unit
LEFT = ("in_tissue", "modelled_x_px", "modelled_y_px", "vendor_x_px", "vendor_y_px")


def assemble(sample: str, parts: Parts, cells: Path) -> dict[str, Any]:
    """Write the cells of a sample that have a place on the slide.

    Parameters
    ----------
    sample
        Its id, kept in the file.
    cells
        Where they go (.h5ad): `X` raw counts, CSR float32, cells x genes; `obs` what the reader has of a cell
        (`cell_area_um2`, …) and `x_px`, `y_px`; `obsm['spatial']` (x, y), slide px; `uns` sample and pixel size.

    Returns
    -------
    Measures of the record: `cells`, `units_without_place`, `counts_per_cell_median`, and `conservation` as of a pool.

    Raises
    ------
    ValueError
        Counts were lost or made, or a cell with counts is in no row of the table of units: a bug.
    """
    pools, measures = pool_sample(BY, parts)
    units = pools[UNITS]
    units.obs = units.obs.drop(columns=[name for name in LEFT if name in units.obs])
    units.obsm["spatial"] = units.obs[["x_px", "y_px"]].to_numpy(dtype=np.float64)
    units.uns = {"sample": sample, "pixel_size_um": read_json(parts.alignment)["pixel_size_um"]}
    units.write_h5ad(cells, compression="gzip")
    totals = np.asarray(units.X.sum(axis=1)).ravel()
    return {
        "cells": units.n_obs,
        "units_without_place": measures["units_without_place"],
        "counts_per_cell_median": float(np.median(totals)) if len(totals) else None,
        CONSERVATION: measures[CONSERVATION][UNITS],
    }
