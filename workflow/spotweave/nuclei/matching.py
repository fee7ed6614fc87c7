"""Which nucleus of the H&E is which cell of the instrument.

Each nucleus takes the cell whose centroid is nearest, as in HEST-1k (appendix E), and a pair is kept if no other
nucleus took the same cell. HEST-1k stops there; here a pair must also be mutual (no other nucleus is nearer to the
cell) and no farther apart than a limit, since where a nucleus was missed the nearest cell is a neighbour's, and the
outline may hold the centroid of one cell at most, since what holds two is two nuclei that were not told apart.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from spotweave.nuclei.table import MADE_BY, read_nuclei

LIMIT_UM = 5.0
OUTLINES_AT_ONCE = 1 << 16
VENDORS_AREA = "nucleus_area_um2"  # in the cells' obs, where the deposit has it

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def match(
    nuclei_um: Floats, cells_um: Floats, held: Ints, limit_um: float = LIMIT_UM
) -> tuple[Ints, Ints, Floats, dict[str, float | None]]:
    """Pair nuclei (N, 2) with cells (M, 2), both in um of the slide.

    Parameters
    ----------
    held
        (N,) how many cells have their centroid within the nucleus.

    Returns
    -------
    nucleus, cell, distance_um
        (P,) rows of the pairs kept, by nucleus, and how far apart they are.
    shares
        Of the nuclei: `kept_share`; `unique_share`, those kept by uniqueness alone, which is what HEST-1k reports
        (91 %); `within_share`, those with a cell within the limit; `several_share`, those that hold several cells.
        None without nuclei.
    """
    names = ("kept_share", "unique_share", "within_share", "several_share")
    if not len(nuclei_um) or not len(cells_um):
        nothing = np.zeros(0, dtype=np.int64)
        return nothing, nothing, np.zeros(0), dict.fromkeys(names, 0.0 if len(nuclei_um) else None)
    distance, cell = cKDTree(cells_um).query(nuclei_um)
    _, nucleus_of = cKDTree(nuclei_um).query(cells_um)
    unique = np.bincount(cell, minlength=len(cells_um))[cell] == 1
    mutual = nucleus_of[cell] == np.arange(len(nuclei_um))
    near, several = distance <= limit_um, held > 1
    kept = unique & mutual & near & ~several
    shares = (round(float(own.mean()), 4) for own in (kept, unique, near, several))
    nucleus = np.flatnonzero(kept)
    return nucleus, cell[nucleus].astype(np.int64), distance[nucleus], dict(zip(names, shares, strict=True))


def cells_held(nuclei: Path, cells_px: Floats) -> Ints:
    """How many cells have their centroid (M, 2) within each outline (N,) of a table of nuclei, read in parts."""
    tree = shapely.STRtree(shapely.points(cells_px))
    held = [np.zeros(0, dtype=np.int64)]
    for part in pq.ParquetFile(nuclei).iter_batches(OUTLINES_AT_ONCE, columns=["geometry"]):
        outlines = shapely.from_wkb(part["geometry"].to_numpy(zero_copy_only=False))
        outline, _ = tree.query(outlines, predicate="contains")
        held.append(np.bincount(outline, minlength=len(outlines)))
    return np.concatenate(held)


def match_cells(nuclei: Path, cells: Path, alignment: Path, target: Path, limit_um: float = LIMIT_UM) -> dict[str, Any]:
    """Match a sample's nuclei with its cells.

    Parameters
    ----------
    nuclei, cells, alignment
        `nuclei/<model>.parquet`, `cells.h5ad` and `alignment.json`.
    target
        .parquet, a row a pair in the order of the nuclei: `nucleus` int64, `cell` str, `distance_um` float32.

    Returns
    -------
    Measures of the record: `model`, `nuclei`, `cells` (with a place on the slide), `matched`, the shares of `match`,
    `distance_median_um`, `area_r` (correlation of the nuclei's areas with the instrument's, where it has them: whatever
    nuclear area is held against on the H&E correlates less by about this factor), `note`.
    """
    import anndata

    from spotweave.io import read_json

    table = read_nuclei(nuclei, ["nucleus", "area_um2"])
    obs = anndata.read_h5ad(cells, backed="r").obs
    pixel_size_um = float(read_json(alignment)["pixel_size_um"])
    xy_px = obs[["pxl_col_in_fullres", "pxl_row_in_fullres"]].to_numpy(dtype=np.float64)
    placed = np.flatnonzero(np.isfinite(xy_px).all(axis=1))
    held = cells_held(nuclei, xy_px[placed])
    nucleus, cell, distance, shares = match(table.xy_px * pixel_size_um, xy_px[placed] * pixel_size_um, held, limit_um)
    pairs = pa.table(
        {
            "nucleus": pa.array(table.columns["nucleus"].to_numpy()[nucleus], pa.int64()),
            "cell": pa.array(obs.index.to_numpy().astype(str)[placed[cell]], pa.string()),
            "distance_um": pa.array(distance, pa.float32()),
        }
    )
    said = {**table.made_by, "limit_um": limit_um, **shares}
    pq.write_table(
        pairs.replace_schema_metadata({MADE_BY: json.dumps(said, sort_keys=True)}), target, compression="zstd"
    )
    return {
        "model": table.made_by.get("model"),
        "nuclei": len(table.xy_px),
        "cells": len(placed),
        "matched": len(nucleus),
        **shares,
        "distance_median_um": round(float(np.median(distance)), 3) if len(distance) else None,
        "area_r": _area_r(table.columns["area_um2"].to_numpy()[nucleus], obs, placed[cell]),
        "note": table.note,
    }


def _area_r(area_um2: Floats, obs: Any, rows: Ints) -> float | None:
    """Pearson correlation of the areas of pairs on the H&E and by the instrument; None where they are not known."""
    if VENDORS_AREA not in obs:
        return None
    theirs = obs[VENDORS_AREA].to_numpy(dtype=np.float64)[rows]
    known = np.isfinite(area_um2) & np.isfinite(theirs)
    if known.sum() < 3 or not theirs[known].std() or not area_um2[known].std():
        return None
    return round(float(np.corrcoef(area_um2[known], theirs[known])[0, 1]), 4)
