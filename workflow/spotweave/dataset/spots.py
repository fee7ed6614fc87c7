"""A sample's released AnnData: counts and spots in the layout of HEST-1k."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd

from spotweave.geometry import apply

# HEST-1k's name of the reduced picture, and the name that scanpy and squidpy know such a picture by. Not `hires`: where
# there is a `tissue_hires_scalef`, HEST's conversion to SpatialData looks for a picture that its samples do not have.
PICTURE, SCANPY_PICTURE = "downscaled_fullres", "lowres"


def slide_positions(spots: pd.DataFrame, alignment: Mapping[str, Any]) -> np.ndarray:
    """(N, 2) float64, spot centres (x, y) in slide px; NaN for a spot without a place.

    `spots` has `x_px`, `y_px` in the vendor's frame and `array_col`, `array_row`; where the fiducial frame places the
    spots, the places follow from the array and the alignment's matrix.
    """
    if alignment["is_placed_by_frame"]:
        array = spots[["array_col", "array_row"]].to_numpy(dtype=float)
        return apply(np.asarray(alignment["matrix"]), array * np.asarray(alignment["array_pitch_um"]))
    return vendor_positions(spots, alignment)


def vendor_positions(spots: pd.DataFrame, alignment: Mapping[str, Any]) -> np.ndarray:
    """(N, 2) float64, spot centres (x, y) in slide px as the deposit has them; NaN for a spot it has no place for."""
    return spots[["x_px", "y_px"]].to_numpy(dtype=float) * alignment["spots_to_image_scale"]


def release_spots(
    expression: anndata.AnnData,
    alignment: Mapping[str, Any],
    tissue_fraction: np.ndarray,
    picture: np.ndarray,
) -> anndata.AnnData:
    """Bring a reader's AnnData into the released layout.

    Parameters
    ----------
    expression
        The read stage's AnnData: raw counts, `x_px`, `y_px` in the vendor's frame.
    alignment
        The content of `alignment.json`.
    tissue_fraction
        (N,) share of each spot's disc that is tissue.
    picture
        The slide reduced, (H, W, 3) uint8.

    Returns
    -------
    AnnData
        `X` raw counts CSR float32; `obs` in_tissue (bool; never outside the picture nor off the lattice), array_row,
        array_col, pxl_col_in_fullres (x), pxl_row_in_fullres (y), tissue_fraction, total_counts, and, where the frame
        places the spots and the deposit has positions too, vendor_pxl_col_in_fullres, vendor_pxl_row_in_fullres;
        `obsm['spatial']` (x, y) slide px;
        `uns['spatial']['ST']` with the reduced picture and the scale factors. `write` gives the picture its
        second name.
    """
    obs = expression.obs
    xy_px = slide_positions(obs, alignment)
    diameter_px = alignment["spot_diameter_um"] / alignment["pixel_size_um"]
    released = anndata.AnnData(X=expression.X, obs=obs[[]].copy(), var=expression.var.copy())
    size_px = (alignment["image_width_px"], alignment["image_height_px"])
    inside = ((xy_px >= 0) & (xy_px < size_px)).all(axis=1)
    is_placed = ~obs.index.isin(alignment["spots_without_place"])
    released.obs["in_tissue"] = (obs["in_tissue"].to_numpy() == 1) & inside & is_placed
    released.obs["array_row"] = obs["array_row"].to_numpy()
    released.obs["array_col"] = obs["array_col"].to_numpy()
    released.obs["pxl_col_in_fullres"] = xy_px[:, 0]
    released.obs["pxl_row_in_fullres"] = xy_px[:, 1]
    vendor_px = vendor_positions(obs, alignment)
    if alignment["is_placed_by_frame"] and np.isfinite(vendor_px).any():
        released.obs["vendor_pxl_col_in_fullres"] = vendor_px[:, 0]
        released.obs["vendor_pxl_row_in_fullres"] = vendor_px[:, 1]
    released.obs["tissue_fraction"] = np.round(tissue_fraction, 4)
    released.obs["total_counts"] = np.asarray(expression.X.astype(np.float64).sum(axis=1)).ravel()
    released.obsm["spatial"] = xy_px
    scale = picture.shape[1] / alignment["image_width_px"]
    scales = {f"tissue_{name}_scalef": scale for name in (PICTURE, SCANPY_PICTURE)}
    released.uns["spatial"] = {
        "ST": {"images": {PICTURE: picture}, "scalefactors": {"spot_diameter_fullres": diameter_px, **scales}}
    }
    return released


def write(path: Path, released: anndata.AnnData) -> None:
    """Write the AnnData of `release_spots`: the picture once, under both of its names."""
    released.write_h5ad(path, compression="gzip")
    with h5py.File(path, "r+") as file:
        images = file["uns/spatial/ST/images"]
        images[SCANPY_PICTURE] = images[PICTURE]
