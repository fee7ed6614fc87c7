"""A simulated Xenium section as a sample's store: its true nuclei as a model would have found them, spots and cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pyarrow as pa
import scipy.sparse
import shapely
from skimage import draw

from spotweave.io import write_json
from spotweave.nuclei.files import SCHEMA, write_nuclei
from spotweave.nuclei.morphology import neighbourhood, of_labels
from spotweave.simulate.section_pair import Pair, on_slide
from spotweave.simulate.xenium_section import SectionTruth
from spotweave.tissue.polygons import write_geojson

SPOT_UM = 55.0


@dataclass(frozen=True)
class Store:
    """Paths of a sample's files."""

    st: Path
    cells: Path
    alignment: Path
    tissue: Path
    nuclei: Path


def true_nuclei(pair: Pair) -> tuple[pd.DataFrame, np.ndarray]:
    """The nuclei on the H&E, drawn and measured, and which (m,) of the tissue's each is; sorted by y, then x."""
    size = pair.he_pixel_size_um
    there = on_slide(pair.tissue, pair.warp, pair.he.shape[:2], size).nuclei
    labels = np.zeros(pair.he.shape[:2], np.int32)
    for index in range(len(there.x_um)):
        axes = there.semi_minor_um[index] / size, there.semi_major_um[index] / size
        centre = there.y_um[index] / size - 0.5, there.x_um[index] / size - 0.5
        rows, columns = draw.ellipse(*centre, *axes, shape=labels.shape, rotation=-there.angle_rad[index])
        free = labels[rows, columns] == 0
        labels[rows[free], columns[free]] = index + 1
    table = pd.DataFrame(of_labels(labels, size))
    table = table.reindex(range(len(there.x_um)))
    table.insert(0, "x_px", there.x_um / size)
    table.insert(1, "y_px", there.y_um / size)
    table = table[table["area_um2"].notna()].sort_values(["y_px", "x_px"])
    return table.reset_index(drop=True), table.index.to_numpy()


def write_table(path: Path, nuclei: pd.DataFrame, pixel_size_um: float, **said: Any) -> None:
    """Nuclei (`x_px`, `y_px`, features; `class` where told) as the engine files them, outlines as discs."""
    xy_px = nuclei[["x_px", "y_px"]].to_numpy()
    around = neighbourhood(xy_px * pixel_size_um, shapely.box(0, 0, 1e5, 1e5))
    whole = nuclei.assign(**around)
    radius = np.sqrt(nuclei["area_um2"].to_numpy() / np.pi) / pixel_size_um
    outlines = shapely.buffer(shapely.points(xy_px), radius, quad_segs=3)
    columns: Mapping[str, Any] = {
        "nucleus": np.arange(len(whole), dtype=np.int64),
        "geometry": shapely.to_wkb(outlines),
        "class": whole["class"] if "class" in whole else ["Nucleus"] * len(whole),
        "class_probability": np.full(len(whole), np.nan, np.float32),
        **{name: whole[name].to_numpy() for name in whole if name != "class"},  # NaN, not null
    }
    made_by = {"model": "truth", "classes": ["Nucleus"], "slide_pixel_size_um": pixel_size_um, **said}
    names = pa.table(dict(columns))
    parts = [names.select(SCHEMA.names).cast(SCHEMA)] if len(whole) else []
    write_nuclei(path, path.with_suffix(".geojson"), parts, made_by)


def write_store(folder: Path, section: SectionTruth) -> tuple[Store, np.ndarray]:
    """Write the store of a section; returns it and which of the section's nuclei each row of its table is."""
    pair, size = section.pair, section.pair.he_pixel_size_um
    store = Store(
        *(folder / name for name in ("st.h5ad", "cells.h5ad", "alignment.json", "tissue.geojson", "nuclei.parquet"))
    )
    nuclei, which = true_nuclei(pair)
    write_table(store.nuclei, nuclei, size)
    height, width = pair.he.shape[:2]
    write_json(store.alignment, {"pixel_size_um": size, "spot_diameter_um": SPOT_UM})
    write_geojson(store.tissue, [shapely.box(0, 0, width, height)], size)
    counts = scipy.sparse.csr_matrix(section.counts.astype(np.float32))
    names = [f"cell{number}" for number in range(counts.shape[0])]
    xy_px = section.he_xy_px
    placed = pd.DataFrame({"pxl_col_in_fullres": xy_px[:, 0], "pxl_row_in_fullres": xy_px[:, 1]}, index=names)
    placed["nucleus_area_um2"] = section.nucleus_area_um2
    var = pd.DataFrame(index=section.genes)
    cells = anndata.AnnData(counts, obs=placed, var=var, obsm={"spatial": xy_px})
    cells.write_h5ad(store.cells)
    _write_spots(store.st, section, counts, xy_px)
    return store, which


def _write_spots(path: Path, section: SectionTruth, counts: scipy.sparse.csr_matrix, xy_px: np.ndarray) -> None:
    """Squares of `SPOT_UM` side by side, with the counts of the cells in them."""
    size = section.pair.he_pixel_size_um
    side_px = SPOT_UM / size
    place = np.floor(xy_px / side_px).astype(int)
    squares, own = np.unique(place, axis=0, return_inverse=True)
    sums = scipy.sparse.csr_matrix((np.ones(len(own)), (own.ravel(), np.arange(len(own))))) @ counts
    obs = pd.DataFrame(
        {"in_tissue": True, "tissue_fraction": 1.0}, index=[f"{row}x{column}" for column, row in squares]
    )
    spots = anndata.AnnData(
        scipy.sparse.csr_matrix(sums.astype(np.float32)), obs=obs, var=pd.DataFrame(index=section.genes)
    )
    spots.obsm["spatial"] = (squares + 0.5) * side_px
    scales = {"spot_diameter_fullres": side_px, "tissue_downscaled_fullres_scalef": 0.25}
    picture = np.ascontiguousarray(section.pair.he[::4, ::4])
    spots.uns["spatial"] = {"ST": {"images": {"downscaled_fullres": picture}, "scalefactors": scales}}
    spots.write_h5ad(path)
