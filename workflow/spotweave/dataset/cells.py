"""A sample's cells with their counts and their places on the slide, as they are released beside the spots."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from spotweave.io import read_json
from spotweave.pooling import Parts, join

MEASURED = ("x_um", "y_um", "cell_area_um2", "nucleus_area_um2")


def assemble_cells(parts: Parts, cells: Path) -> dict[str, Any]:
    """Bring cells onto the slide and write them.

    Parameters
    ----------
    parts
        Of a sample whose units are cells.
    cells
        Where the AnnData goes (.h5ad): `X` raw counts CSR float32; `obs` `in_tissue` (bool, never outside the picture),
        `pxl_col_in_fullres` (x), `pxl_row_in_fullres` (y) slide px, `total_counts`, and of what the deposit measured
        `x_um`, `y_um` (the instrument's own), `cell_area_um2`, `nucleus_area_um2`; `obsm['spatial']` (x, y) slide px;
        `uns['pixel_size_um']`.

    Returns
    -------
    Measures of the record: `cells`, `cells_in_tissue`, `cells_without_place`, and `counts_in`, `counts_out`,
    `counts_dropped`.
    """
    joined, alignment = join(parts), read_json(parts.alignment)
    placed = joined.placed
    xy_px = placed.obs[["x_px", "y_px"]].to_numpy(dtype=np.float64)
    inside = ((xy_px >= 0) & (xy_px < (alignment["image_width_px"], alignment["image_height_px"]))).all(axis=1)
    measured = placed.obs[[name for name in MEASURED if name in placed.obs]]
    placed.obs = measured.assign(
        in_tissue=(placed.obs["in_tissue"].to_numpy() == 1) & inside,
        pxl_col_in_fullres=xy_px[:, 0],
        pxl_row_in_fullres=xy_px[:, 1],
        total_counts=np.asarray(placed.X.sum(axis=1, dtype=np.float64)).ravel(),
    )
    placed.X = placed.X.astype(np.float32)
    placed.obsm["spatial"] = xy_px
    placed.uns["pixel_size_um"] = alignment["pixel_size_um"]
    placed.write_h5ad(cells, compression="gzip")
    return {
        "cells": placed.n_obs,
        "cells_in_tissue": int(placed.obs["in_tissue"].sum()),
        "cells_without_place": joined.without_place,
        "counts_in": int(joined.counts_in.sum()),
        "counts_out": int(placed.obs["total_counts"].sum()),
        "counts_dropped": int(joined.dropped.sum()),
    }
