"""The nuclei of a sample's spots, written as a table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from spotweave.io import read_json
from spotweave.nuclei.spots import COUNT, MEASURED, summaries
from spotweave.nuclei.table import MADE_BY, read_nuclei
from spotweave.tissue.agreement import tissue_fraction
from spotweave.tissue.polygons import read_geojson


def measure_spots(st: Path, nuclei: Path, tissue: Path, alignment: Path, target: Path) -> dict[str, Any]:
    """Sum up the nuclei in the disc of every spot.

    Parameters
    ----------
    st, nuclei, tissue, alignment
        `st.h5ad`, `nuclei/<model>.parquet`, `tissue.geojson` and `alignment.json`.
    target
        .parquet, a row a spot in the order of `st`: `barcode` and the columns of `spots.summaries`; its metadata hold
        under `spotweave` what the nuclei's table says of itself, and `spot_diameter_um`.

    Returns
    -------
    Measures of the record: `model`, `spots`, `nuclei_in_spots`, `spots_without_nuclei`, `nuclei_per_spot_median` (the
    three of spots in tissue, null where no nuclei were looked for) and `note`.
    """
    spots = anndata.read_h5ad(st, backed="r")
    xy_px = np.asarray(spots.obsm["spatial"], dtype=np.float64)[:, :2]
    diameter_px = float(spots.uns["spatial"]["ST"]["scalefactors"]["spot_diameter_fullres"])
    pixel_size_um = float(read_json(alignment)["pixel_size_um"])
    diameter_um = diameter_px * pixel_size_um
    fraction = tissue_fraction(read_geojson(tissue), xy_px[:, 0], xy_px[:, 1], diameter_px)
    table = read_nuclei(nuclei, ["class", *MEASURED])
    found = summaries(table, xy_px, diameter_px, fraction * np.pi * (diameter_um / 2) ** 2 / 1e6)
    found.insert(0, "barcode", spots.obs_names.to_numpy().astype(str))
    said = json.dumps({**table.made_by, "spot_diameter_um": round(diameter_um, 3)}, sort_keys=True)
    written = pa.Table.from_pandas(found, preserve_index=False).replace_schema_metadata({MADE_BY: said})
    pq.write_table(written, target, compression="zstd")
    many = found[COUNT].to_numpy()[spots.obs["in_tissue"].to_numpy().astype(int) == 1]
    known = bool(np.isfinite(many).any())
    return {
        "model": table.made_by.get("model"),
        "spots": len(found),
        "nuclei_in_spots": int(np.nansum(many)) if known else None,
        "spots_without_nuclei": int((many == 0).sum()) if known else None,
        "nuclei_per_spot_median": float(np.nanmedian(many)) if known else None,
        "note": table.note,
    }
