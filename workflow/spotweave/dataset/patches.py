"""The patches of one sample: cut from its slide around its in-tissue units, and the sheet a person judges them by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata
from tqdm import tqdm

from spotweave.io import read_json
from spotweave.report.plots import contact_sheet
from spotweave.slide import patches as cutting


def extract(
    sample: str, store: tuple[Path, Path, Path], size_px: int, pixel_size_um: float, patches: Path, sheet: Path
) -> dict[str, Any]:
    """Cut and write them.

    Parameters
    ----------
    sample
        Its id.
    store
        `st.h5ad`, `slide.tif` and `alignment.json`.
    size_px, pixel_size_um
        Side of a patch in its own px, and um per px of it.
    patches, sheet
        Where they go (.h5, .jpg).

    Returns
    -------
    Measures of the record.
    """
    st, slide, alignment = store
    spots = anndata.read_h5ad(st, backed="r")
    in_tissue = spots.obs["in_tissue"].to_numpy(dtype=bool)
    grid = cutting.PatchGrid(
        centres_px=spots.obsm["spatial"][in_tissue],
        size_px=size_px,
        target_pixel_size_um=pixel_size_um,
        slide_pixel_size_um=read_json(alignment)["pixel_size_um"],
    )
    pyramid = cutting.Pyramid(slide)
    padded = grid.padded(pyramid.width_px, pyramid.height_px)
    barcodes = spots.obs_names[in_tissue].tolist()
    progress = tqdm(cutting.cut(pyramid, grid), total=len(barcodes), desc="patches", disable=None)
    cutting.write_patches(patches, iter(progress), grid, barcodes, padded, sample)
    contact_sheet(patches, sheet)
    return {"patches": len(barcodes), "patches_padded": int(padded.sum()), "patch_size_src_px": grid.source_size_px}
