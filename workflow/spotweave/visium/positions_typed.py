"""Positions in containers whose columns have types: parquet, and AnnData files (h5ad) that carry them."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd

from spotweave.deposits.opening import check_parquet, open_hdf5
from spotweave.deposits.raw import RawFile
from spotweave.errors import Refusal
from spotweave.visium.positions_columns import NAMES, NEEDED, Filed, NoPositions, header_name, normal

PLACES = ("array_row", "array_col", "y_px", "x_px")


def read_parquet(raw: RawFile, content: bytes | None) -> Filed:
    """Parquet (`content`, if it was packed), only the columns needed.

    Barcodes stay in Arrow's memory, as Visium HD has eleven million.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(raw.path if content is None else io.BytesIO(content))
        check_parquet(raw.name, file, raw.path.stat().st_size if content is None else len(content))
        header = [str(name) for name in file.schema_arrow.names]
        lower = [normal(name) for name in header]
        places = {key: next((lower.index(n) for n in names if n in lower), None) for key, names in NAMES.items()}
        index = "__index_level_0__"  # how pandas files an index without a name
        if places["barcode"] is None and index in header:
            places["barcode"] = header.index(index)
        missing = [key for key, at in places.items() if at is None]
        if missing:
            raise Refusal(
                f"{raw.name}: no column for {', '.join(header_name(key) for key in missing)}; the file has"
                f" {', '.join(header)[:200]}"
            )
        wanted = {key: header[at] for key, at in places.items() if at is not None}
        twice = [name for name in wanted.values() if header.count(name) > 1]
        if twice:
            raise Refusal(f"{raw.name}: two columns are called {twice[0]!r}; remove one")
        read = file.read(columns=list(wanted.values()))
    except (pyarrow.ArrowException, OSError) as error:
        text = " ".join(str(error).split())[:200]
        raise Refusal(f"{raw.name}: cut or damaged parquet ({text}); download it again") from error
    table = pd.DataFrame({key: read[wanted[key]].to_pandas() for key in NEEDED})
    table.index += 1
    barcodes = pd.Series(pd.array(read[wanted["barcode"]], dtype=pd.StringDtype("pyarrow")))
    unused = [name for name in header if name not in wanted.values() and name != index]
    return Filed("parquet", barcodes, table, unused=unused)


def read_h5ad(raw: RawFile) -> Filed:
    """Positions that an AnnData file carries: places in `obs`, pixels in `obsm['spatial']` (x first) or `obs`.

    Raises
    ------
    NoPositions
        None of the columns is there, nor `obsm['spatial']`.
    Refusal
        Some are, and others not; or it is no such file.
    """
    from anndata.io import read_elem

    from spotweave.matrices.h5ad import read_frame, text_columns
    from spotweave.matrices.hdf5 import keys

    with open_hdf5(raw) as file:
        if "obs" not in file:
            raise Refusal(f"{raw.name}: an HDF5 file without positions; give tissue_positions.csv as the spots")
        obs = read_frame(raw.name, file["obs"], "obs")
        spatial = np.asarray(read_elem(file["obsm/spatial"])) if "spatial" in keys(file.get("obsm")) else None
    lower = {normal(str(name)): str(name) for name in obs}
    places = {
        key: lower[next(n for n in names if n in lower)]
        for key, names in NAMES.items()
        if any(n in lower for n in names)
    }
    if not {"array_row", "array_col"} <= set(places) or not ({"y_px", "x_px"} <= set(places) or spatial is not None):
        looks_like_it = spatial is not None or any(key in places for key in PLACES)
        raise (Refusal if looks_like_it else NoPositions)(
            f"{raw.name}: obs has no array_row and array_col, or there are no pixels in obsm['spatial']; give"
            " tissue_positions.csv as the spots"
        )
    if "in_tissue" not in places:
        obs = obs.assign(in_tissue=1)
        places["in_tissue"] = "in_tissue"
    if spatial is not None:
        if spatial.shape[0] != len(obs) or spatial.ndim != 2 or spatial.shape[1] < 2:
            raise Refusal(f"{raw.name}: obsm['spatial'] has the shape {spatial.shape} for {len(obs):,} spots")
        obs = obs.assign(spatial_x=spatial[:, 0], spatial_y=spatial[:, 1])
        places["x_px"], places["y_px"] = "spatial_x", "spatial_y"
    table = pd.DataFrame({key: obs[places[key]] for key in NEEDED}).set_axis(pd.RangeIndex(1, len(obs) + 1))
    others = text_columns(obs.drop(columns=list(places.values())))
    return Filed("h5ad", pd.Series([str(name) for name in obs.index]), table, others)
