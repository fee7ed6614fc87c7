"""Positions of spots and bins as Space Ranger and copies of its files write them.

    read_positions(raw) -> Positions      tissue_positions(_list).csv/.txt/.parquet, or an h5ad that carries them

Space Ranger 1 writes no header, 2 and later do, and so do some deposits of 1; Visium HD writes parquet. Whatever the
file, the result is the same; spots off the tissue without numbers are left out and counted.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from spotweave.deposits.opening import GZIP_MAGIC, HDF5_MAGIC, check_parquet, open_hdf5, parses, read_bytes
from spotweave.deposits.raw import RawFile
from spotweave.errors import Refusal
from spotweave.visium.positions_columns import (
    FLAGS,
    NAMES,
    NEEDED,
    checked,
    header_name,
    normal,
    off_tissue_without_numbers,
)
from spotweave.visium.positions_text import read_text

PARQUET_MAGIC = b"PAR1"


@dataclass(frozen=True)
class Positions:
    """Positions of one file.

    Attributes
    ----------
    name
        The file's, for messages.
    table
        One row per spot as filed: `barcode` (str, as filed), `in_tissue` (int64, 0/1), `array_row`, `array_col`
        (int64), `y_px`, `x_px` (float64, px of the full-resolution image).
    report
        JSON-ready: `positions_layout`, `rows_in_positions`, `spots_in_tissue`, `position_columns_unused`,
        `positions_without_numbers` (left out), and for text `position_rows_blank`.
    unit_columns
        Further columns as text, of tables with a header and of h5ad.
    """

    name: str
    table: pd.DataFrame
    report: dict[str, Any]
    unit_columns: dict[str, list[str]] = field(default_factory=dict)


@parses
def read_positions(raw: RawFile) -> Positions:
    """Read the positions of all spots of a capture area.

    Raises
    ------
    Refusal
        The file is damaged or of another layout, a number is missing in tissue or none, or a barcode comes twice.
    """
    with open(raw.path, "rb") as handle:
        head = handle.read(len(HDF5_MAGIC))
    if not head:
        raise Refusal(f"{raw.name}: the file is empty; download it again")
    content = read_bytes(raw) if head.startswith(GZIP_MAGIC) else None
    if content is not None:
        head = content[: len(HDF5_MAGIC)]
    columns: dict[str, list[str]] = {}
    left_out: dict[str, int] = {}
    if head.startswith(HDF5_MAGIC):
        table, unused, columns, left_out = _read_h5ad(raw)
        layout = "h5ad"
    elif head.startswith(PARQUET_MAGIC):
        table, unused, left_out = _read_parquet(raw, content)
        layout = "parquet"
    else:
        table, columns, layout, left_out = read_text(raw, read_bytes(raw) if content is None else content)
        unused = list(columns)
    _check(raw, table, columns)
    report = {
        "positions_layout": layout,
        "rows_in_positions": len(table),
        "spots_in_tissue": int(table["in_tissue"].sum()),
        "position_columns_unused": unused,
        **left_out,
    }
    return Positions(raw.name, table, report, columns)


def _read_parquet(raw: RawFile, content: bytes | None) -> tuple[pd.DataFrame, list[str], dict[str, int]]:
    """Parquet, only the columns needed; barcodes stay in Arrow's memory, as Visium HD has eleven million."""
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
    columns = {key: read[wanted[key]].to_pandas() for key in NEEDED}
    off = off_tissue_without_numbers(pd.DataFrame(columns))
    barcode = pd.Series(pd.array(read[wanted["barcode"]], dtype=pd.StringDtype("pyarrow")))
    done: dict[str, Any] = {"barcode": barcode[~off].reset_index(drop=True)}
    for key, values in columns.items():
        values.index += 1
        kept = values[~off] if off.any() else values
        done[key] = checked(raw, key, pd.to_numeric(kept, errors="coerce"), kept)
    unused = [name for name in header if name not in wanted.values() and name != "__index_level_0__"]
    return pd.DataFrame(done), unused, {"positions_without_numbers": int(off.sum())}


def _read_h5ad(raw: RawFile) -> tuple[pd.DataFrame, list[str], dict[str, list[str]], dict[str, int]]:
    """Positions that an AnnData file carries: places in `obs`, pixels in `obsm['spatial']` (x first) or `obs`."""
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
        raise Refusal(
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
    off = off_tissue_without_numbers(pd.DataFrame({key: obs[places[key]] for key in NEEDED}))
    obs = obs[~off]
    done: dict[str, Any] = {"barcode": pd.Series([str(name) for name in obs.index])}
    for key in NEEDED:
        values = obs[places[key]].set_axis(np.flatnonzero(~off) + 1)
        texts = values.astype(str).str.lower().replace(FLAGS) if key == "in_tissue" else values.astype(str)
        done[key] = checked(raw, key, pd.to_numeric(texts, errors="coerce"), values)
    others = text_columns(obs.drop(columns=list(places.values())))
    return pd.DataFrame(done), [], others, {"positions_without_numbers": int(off.sum())}


def _check(raw: RawFile, table: pd.DataFrame, columns: Mapping[str, list[str]]) -> None:
    """Refuse a table that is empty or has a barcode twice, unless another column tells the two apart."""
    if not len(table):
        raise Refusal(f"{raw.name}: the table has a header and no rows; download the file again")
    if (table["barcode"] == "").any():
        raise Refusal(
            f"{raw.name}: {int((table['barcode'] == '').sum()):,} rows have no barcode; download the file again"
        )
    repeated = table["barcode"].duplicated()
    is_joint = any(len(set(zip(table["barcode"], values, strict=True))) == len(table) for values in columns.values())
    if repeated.any() and not is_joint:
        first = table["barcode"][repeated].iloc[0]
        raise Refusal(
            f"{raw.name}: barcode {first} comes twice ({int(repeated.sum()):,} such rows); remove the wrong rows",
            measured=int(repeated.sum()),
            threshold=0,
        )
