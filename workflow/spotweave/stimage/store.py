"""One slide of the layout as a sample's store: counts, pyramid, pixel size and patches, as the stages leave them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from spotweave.dataset.spots import release_spots, write
from spotweave.deposits.delimited import shorten
from spotweave.deposits.values import plain_number
from spotweave.errors import Refusal
from spotweave.io import write_json
from spotweave.matrices.genes import gene_table
from spotweave.matrices.matrix import Matrix
from spotweave.pictures.header import read_header
from spotweave.pictures.reduced import read_reduced
from spotweave.slide.levels import Pyramid
from spotweave.slide.patch_files import PatchWriter
from spotweave.slide.patches import Cutter, PatchGrid
from spotweave.slide.pyramid import build_pyramid
from spotweave.stimage import EXTRA, FOLDERS, Printed
from spotweave.stimage.folder import Slide, read_extra_of
from spotweave.stimage.pixel_size import PixelSize, measure

PICTURE_PX = 1000  # of the reduced picture within `st.h5ad`
TILE_PX, JPEG_QUALITY = 512, 90
PATCH_PX, PATCH_UM = 224, 0.5  # per px: HEST-1k's
OUTSIDE = 0.5  # share of spots beyond the picture from which the places are not those of the picture


@dataclass(frozen=True)
class Stored:
    """What was written of a slide: how it is measured, names of genes that were there twice, a note on its picture."""

    printed: Printed
    size: PixelSize
    duplicate_gene_names: int
    picture_note: str | None


def store_slide(root: Path, slide: Slide, own: Mapping[str, str] | None, way: str, store: Path) -> Stored:
    """Write `st.h5ad`, `slide.tif`, `alignment.json` and `patches.h5` (224 px at 0.5 um/px) of a slide.

    Parameters
    ----------
    root
        The folder of the layout.
    own
        The slide's row of our own table beside the layout; None in folders of others.
    way
        As for `pixel_size.measure`.
    store
        The folder that is made.

    Raises
    ------
    Refusal
        The picture cannot be read or is not that of the spots, or the pixel size is in doubt.
    """
    name, printed = slide.name, FOLDERS[slide.folder]
    stated = None
    if own is not None:
        stated, diameter, pitch = (
            _measure(own, column) for column in ("pixel_size_um", "spot_diameter_um", "spot_pitch_um")
        )
        printed = Printed(printed.technology, diameter or printed.diameter_um, pitch or printed.pitch_um)
    size = measure(name, slide.xy_px, slide.radius_px, printed, stated, way)
    header = read_header(slide.picture)
    within = (slide.xy_px >= 0) & (slide.xy_px < (header.width_px, header.height_px))
    inside = np.asarray(within.all(axis=1))
    if 1 - inside.mean() > OUTSIDE:
        raise Refusal(
            f"{slide.folder}/coord/{name}_coord.csv: {int((~inside).sum())} of {len(inside)} spots lie beyond the "
            f"picture of {header.width_px} x {header.height_px} px; it is another picture, or x and y are exchanged",
            measured=round(float(1 - inside.mean()), 4),
            threshold=OUTSIDE,
        )
    store.mkdir(parents=True)
    build_pyramid(slide.picture, store / "slide.tif", pixel_size_um=size.um, tile_px=TILE_PX, jpeg_quality=JPEG_QUALITY)
    diameter_um = 2 * slide.radius_px * size.um
    alignment = {
        "pixel_size_um": size.um,
        "pixel_size_from": size.source,
        "spot_diameter_um": diameter_um,
        "spot_pitch_um": printed.pitch_um,
        "image_width_px": header.width_px,
        "image_height_px": header.height_px,
    }
    write_json(store / "alignment.json", alignment)
    duplicates = _write_counts(root, slide, own is not None, alignment, store)
    _write_patches(store, slide, inside, size.um)
    return Stored(printed, size, duplicates, header.note)


def _write_counts(root: Path, slide: Slide, has_extra: bool, alignment: Mapping[str, Any], store: Path) -> int:
    """Write `st.h5ad`; returns how many names of genes were there before."""
    ids, obs = [""] * len(slide.genes), pd.DataFrame(index=pd.Index(slide.spots, dtype=object))
    if has_extra:
        spots, genes = read_extra_of(root, slide)
        ids = genes.columns["gene_id"]
        if all(spots.columns["array_row"]):
            for column in ("array_row", "array_col"):
                obs[column] = np.array(spots.numbers(column), dtype=np.int64)
    blank = [""] * len(ids)
    matrix = Matrix(slide.name, slide.spots, slide.genes, ids, blank, blank, slide.counts, "csv", {})
    var, report = gene_table(matrix)
    obs["in_tissue"] = 1
    for axis, column in enumerate("xy"):
        obs[f"{column}_px"] = obs[f"vendor_{column}_px"] = slide.xy_px[:, axis]
    factor = min(1.0, PICTURE_PX / max(alignment["image_width_px"], alignment["image_height_px"]))
    picture, _ = read_reduced(store / "slide.tif", factor)
    units = AnnData(slide.counts, obs=obs, var=var)
    # Nobody looked for tissue: the layout has spots that are on it, and says nothing of shares.
    released = release_spots(units, alignment, np.full(len(slide.spots), np.nan), picture)
    released.uns["spatial"]["ST"]["scalefactors"]["spot_diameter_fullres"] = 2 * slide.radius_px
    write(store / "st.h5ad", released)
    return int(report["duplicate_gene_names"])


def _write_patches(store: Path, slide: Slide, inside: NDArray[np.bool_], pixel_size_um: float) -> None:
    grid = PatchGrid(slide.xy_px[inside], PATCH_PX, PATCH_UM, pixel_size_um)
    pyramid = Pyramid(store / "slide.tif")
    padded = grid.padded(pyramid.width_px, pyramid.height_px)
    spots = [spot for spot, there in zip(slide.spots, inside.tolist(), strict=True) if there]
    with PatchWriter(store / "patches.h5", grid, spots, padded, slide.name) as writer:
        cutter = Cutter(pyramid, [grid])
        for row in cutter.order():
            writer.put(row, cutter.cut(row)[0])


def _measure(own: Mapping[str, str], column: str) -> float | None:
    """A measure of our own table; None where it is blank."""
    value = plain_number(own[column])
    if own[column] and (value is None or value <= 0):
        raise Refusal(f"{EXTRA}/slides.csv: {column} is {shorten(own[column])!r}, which is no measure")
    return value
