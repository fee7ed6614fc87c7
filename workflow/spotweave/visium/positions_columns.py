"""The columns of a table of positions: what they are called, and the table as one file has it, before it is numbers."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import pandas as pd

from spotweave.errors import Refusal

COLUMNS = ("barcode", "in_tissue", "array_row", "array_col", "y_px", "x_px")  # the order of a file without header
NEEDED = COLUMNS[1:]
# What headers call the columns, in small letters: Space Ranger, Seurat and STUtility, SpatialExperiment.
NAMES = {
    "barcode": ("barcode", "barcodes", "barcode_id", "cell", "spot", "spot_id"),
    "in_tissue": ("in_tissue", "tissue", "intissue"),
    "array_row": ("array_row", "row", "arrayrow"),
    "array_col": ("array_col", "col", "array_column", "column", "arraycol"),
    "y_px": ("pxl_row_in_fullres", "pxl_row", "imagerow", "image_row", "pxl_row_in_full_res"),
    "x_px": ("pxl_col_in_fullres", "pxl_col", "imagecol", "image_col", "pxl_col_in_full_res"),
}
KNOWN_NAMES = {name for names in NAMES.values() for name in names}
EXPECTED = "barcode, in_tissue, array_row, array_col, pxl_row_in_fullres, pxl_col_in_fullres"


class NoPositions(Refusal):
    """A file that has other things than positions, and nothing that looks like them."""


@dataclass(frozen=True)
class Filed:
    """A table of positions as filed: columns found, nothing converted.

    Attributes
    ----------
    layout
        What the file is: `h5ad`, `parquet`, `text` or `text with header`.
    barcodes
        (N,) str.
    table
        `NEEDED` columns of whatever type the file gives them, text in text; the index counts the rows of the file
        from 1.
    others
        Further columns as text, N values each.
    unused
        Names of columns that are not read or only tell samples apart.
    left_out
        Rows that are no positions, counted.
    width, ends_early
        Fields of a row of text, and the rows that have fewer, by the index of `table`, with how many these have.
    """

    layout: str
    barcodes: pd.Series
    table: pd.DataFrame
    others: dict[str, list[str]] = field(default_factory=dict)
    unused: list[str] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)
    width: int = 0
    ends_early: pd.Series = field(default_factory=lambda: pd.Series(dtype="int64"))


def normal(name: str) -> str:
    """A name of a column in small letters, with `_` for what R and people write there."""
    return re.sub(r"[\s.-]+", "_", name.strip().lower())


def header_name(key: str) -> str:
    """What Space Ranger calls a column."""
    return NAMES[key][0]
