"""A sample's released AnnData: counts and spots in the layout of HEST-1k."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import anndata
import h5py
import numpy as np

from spotweave.pooling import CONSERVATION, GRID, PARTIAL

# HEST-1k's name of the reduced picture, and the name that scanpy and squidpy know such a picture by. Not `hires`: where
# there is a `tissue_hires_scalef`, HEST's conversion to SpatialData looks for a picture that its samples do not have.
PICTURE, SCANPY_PICTURE = "downscaled_fullres", "lowres"
# A third less CPU than at h5py's own level 4, for files a twentieth larger (sections of her2st).
COMPRESSED: Final[dict[str, Any]] = {"compression": "gzip", "compression_opts": 1}


def release_spots(
    units: anndata.AnnData,
    alignment: Mapping[str, Any],
    tissue_fraction: np.ndarray,
    picture: np.ndarray,
) -> anndata.AnnData:
    """Bring a sample's units into the released layout.

    Parameters
    ----------
    units
        Placed, with their counts: a pool of `pooling.Pooled`.
    alignment
        The content of `alignment.json`.
    tissue_fraction
        (N,) share of each unit's disc that is tissue.
    picture
        The slide reduced, (H, W, 3) uint8.

    Returns
    -------
    AnnData
        `X` raw counts CSR float32; `obs` in_tissue (bool; never outside the picture), array_row, array_col (of arrays),
        pxl_col_in_fullres (x), pxl_row_in_fullres (y), tissue_fraction, total_counts, and, where the deposit has
        other positions than those used, vendor_pxl_col_in_fullres, vendor_pxl_row_in_fullres;
        `obsm['spatial']` (x, y) slide px;
        `uns['spatial']['ST']` with the reduced picture and the scale factors. `write` gives the picture its
        second name. Pseudo-spots also have `is_partial` in obs, and `uns['grid']`, `uns['conservation']`.
    """
    obs = units.obs
    xy_px = obs[["x_px", "y_px"]].to_numpy(dtype=float)
    diameter_px = alignment["spot_diameter_um"] / alignment["pixel_size_um"]
    released = anndata.AnnData(X=units.X, obs=obs[[]].copy(), var=units.var.copy())
    size_px = (alignment["image_width_px"], alignment["image_height_px"])
    inside = ((xy_px >= 0) & (xy_px < size_px)).all(axis=1)
    released.obs["in_tissue"] = (obs["in_tissue"].to_numpy() == 1) & inside
    for column in ("array_row", "array_col", PARTIAL):
        if column in obs:
            released.obs[column] = obs[column].to_numpy()
    released.obs["pxl_col_in_fullres"] = xy_px[:, 0]
    released.obs["pxl_row_in_fullres"] = xy_px[:, 1]
    vendor_px = obs[["vendor_x_px", "vendor_y_px"]].to_numpy(dtype=float)
    if np.isfinite(vendor_px).any() and not np.array_equal(vendor_px, xy_px):
        released.obs["vendor_pxl_col_in_fullres"] = vendor_px[:, 0]
        released.obs["vendor_pxl_row_in_fullres"] = vendor_px[:, 1]
    released.obs["tissue_fraction"] = np.round(tissue_fraction, 4)
    released.obs["total_counts"] = np.asarray(units.X.astype(np.float64).sum(axis=1)).ravel()
    released.obsm["spatial"] = xy_px
    scale = picture.shape[1] / alignment["image_width_px"]
    scales = {f"tissue_{name}_scalef": scale for name in (PICTURE, SCANPY_PICTURE)}
    released.uns["spatial"] = {
        "ST": {"images": {PICTURE: picture}, "scalefactors": {"spot_diameter_fullres": diameter_px, **scales}}
    }
    released.uns |= {name: units.uns[name] for name in (GRID, CONSERVATION) if name in units.uns}
    return released


def write(path: Path, released: anndata.AnnData) -> None:
    """Write the AnnData of `release_spots`: the picture once, under both of its names."""
    released.write_h5ad(path, **COMPRESSED)
    with h5py.File(path, "r+") as file:
        images = file["uns/spatial/ST/images"]
        images[SCANPY_PICTURE] = images[PICTURE]
