"""Which nucleus of the H&E is which cell of the instrument.

Each nucleus takes the cell whose centroid is nearest, as in HEST-1k (appendix E), and a pair is kept if no other
nucleus took the same cell. HEST-1k stops there; here a pair must also be mutual (no other nucleus is nearer to the
cell) and no farther apart than a limit, since where a nucleus was missed the nearest cell is a neighbour's.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from spotweave.nuclei.table import MADE_BY, read_nuclei

LIMIT_UM = 5.0

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def match(nuclei_um: Floats, cells_um: Floats, limit_um: float = LIMIT_UM) -> tuple[Ints, Ints, Floats, dict[str, Any]]:
    """Pair nuclei (N, 2) with cells (M, 2), both in um of the slide.

    Returns
    -------
    nucleus, cell, distance_um
        (P,) rows of the pairs kept, by nucleus, and how far apart they are.
    shares
        `kept_share` of the nuclei; `unique_share`, those kept by uniqueness alone, which is what HEST-1k reports
        (91 %); `within_share`, those with a cell within the limit.
    """
    nothing = np.zeros(0, dtype=np.int64)
    if not len(nuclei_um) or not len(cells_um):
        none = 0.0 if len(nuclei_um) else None
        return nothing, nothing, np.zeros(0), {"kept_share": none, "unique_share": none, "within_share": none}
    distance, cell = cKDTree(cells_um).query(nuclei_um)
    _, nucleus_of = cKDTree(nuclei_um).query(cells_um)
    unique = np.bincount(cell, minlength=len(cells_um))[cell] == 1
    near = distance <= limit_um
    nucleus = np.flatnonzero(unique & near & (nucleus_of[cell] == np.arange(len(nuclei_um))))
    shares = {"kept_share": len(nucleus) / len(nuclei_um), "unique_share": unique.mean(), "within_share": near.mean()}
    rounded = {name: round(float(value), 4) for name, value in shares.items()}
    return nucleus.astype(np.int64), cell[nucleus].astype(np.int64), distance[nucleus], rounded


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
    `distance_median_um`, `note`.
    """
    import anndata

    from spotweave.io import read_json

    table = read_nuclei(nuclei, ["nucleus"])
    obs = anndata.read_h5ad(cells, backed="r").obs
    pixel_size_um = float(read_json(alignment)["pixel_size_um"])
    xy_px = obs[["pxl_col_in_fullres", "pxl_row_in_fullres"]].to_numpy(dtype=np.float64)
    placed = np.flatnonzero(np.isfinite(xy_px).all(axis=1))
    nucleus, cell, distance, shares = match(table.xy_px * pixel_size_um, xy_px[placed] * pixel_size_um, limit_um)
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
        "note": table.note,
    }
