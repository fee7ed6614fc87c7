"""The columns of a table of positions: where they stand, by name or by order, and what their values may be."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spotweave.deposits.raw import RawFile
from spotweave.deposits.values import UNKNOWN
from spotweave.errors import Refusal
from spotweave.matrices.barcodes import looks_like_barcode

COLUMNS = ("barcode", "in_tissue", "array_row", "array_col", "y_px", "x_px")  # the order of a file without header
NEEDED = ("in_tissue", "array_row", "array_col", "y_px", "x_px")
FARTHEST_PLACE = 1 << 24  # on an array; the whole 2 um bins of Visium HD are 3,350 on a side
WHOLE = ("in_tissue", "array_row", "array_col")
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
THOUSANDS = r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?"
FLAGS = {"true": "1", "false": "0", "t": "1", "f": "0", "yes": "1", "no": "0"}
EXPECTED = "barcode, in_tissue, array_row, array_col, pxl_row_in_fullres, pxl_col_in_fullres"


def off_tissue_without_numbers(table: pd.DataFrame) -> NDArray[np.bool_]:
    """(rows,) bool: spots that are not in tissue and lack a number, as tables made by hand have them."""
    lacks = np.zeros(len(table), dtype=bool)
    for key in ("array_row", "array_col", "y_px", "x_px"):
        lacks |= _is_missing(table[key])
    if not lacks.any():
        return lacks
    flags = table["in_tissue"]
    is_off = flags.astype(str).str.strip().str.lower().replace(FLAGS).isin(("0", "0.0")).to_numpy()
    return lacks & (is_off | _is_missing(flags))


def _is_missing(values: pd.Series) -> NDArray[np.bool_]:
    if pd.api.types.is_numeric_dtype(values.dtype):
        return values.isna().to_numpy(dtype=bool)
    return (values.isna() | values.astype(str).str.strip().str.lower().isin(UNKNOWN)).to_numpy(dtype=bool)


def with_points(raw: RawFile, key: str, texts: pd.Series) -> pd.Series:
    """Numbers with a point before their decimals; refused where a comma may as well part thousands."""
    commas = texts[texts.str.contains(",", regex=False)]
    if commas.empty:
        return texts
    if commas.str.fullmatch(THOUSANDS).all():
        raise Refusal(
            f"{raw.name}: row {commas.index[0]:,}, {header_name(key)}: {commas.iloc[0]!r} may be thousands or"
            " decimals; save the table with plain numbers such as 5546.12",
            measured=len(commas),
            threshold=0,
        )
    return texts.str.replace(",", ".", regex=False)


def normal(name: str) -> str:
    """A name of a column in small letters, with `_` for what R and people write there."""
    return re.sub(r"[\s.-]+", "_", name.strip().lower())


def columns_by_name(raw: RawFile, header: Sequence[str], frame: pd.DataFrame) -> tuple[dict[str, int], list[str]]:
    """Where the columns of `COLUMNS` are; nothing if the header has none of their names (R's V1, V2 …)."""
    lower = [normal(name) for name in header]
    found = {key: [lower.index(name) for name in names if name in lower] for key, names in NAMES.items()}
    twice = [
        name for name in lower if name and lower.count(name) > 1 and any(name in known for known in NAMES.values())
    ]
    if twice:
        raise Refusal(f"{raw.name}: two columns are called {twice[0]!r}; remove one")
    places = {key: at[0] for key, at in found.items() if at}
    if not set(places) & set(NEEDED):
        return {}, []
    if "barcode" not in places:
        at = _barcode_column(frame)
        if at is not None and at not in places.values():
            places["barcode"] = at
    missing = [key for key in COLUMNS if key not in places]
    if missing:
        raise Refusal(
            f"{raw.name}: no column for {', '.join(header_name(key) for key in missing)}; the file has"
            f" {', '.join(name or '(no name)' for name in header)[:200]}; expected are {EXPECTED}"
        )
    return places, [name for i, name in enumerate(header) if i not in places.values() and name]


def columns_by_order(raw: RawFile, header: Sequence[str], frame: pd.DataFrame) -> tuple[dict[str, int], list[str]]:
    """The barcodes' column, by what it holds, and the five after it."""
    at = _barcode_column(frame)
    width = frame.shape[1]
    if at is None or width - at != len(COLUMNS):
        shown = " | ".join(map(str, header if header else frame.iloc[0]))[:200]
        raise Refusal(f"{raw.name}: unknown layout, expected are {EXPECTED}; the first row is {shown}")
    return {key: at + i for i, key in enumerate(COLUMNS)}, []


def header_name(key: str) -> str:
    """What Space Ranger calls a column."""
    return NAMES[key][0]


def _barcode_column(frame: pd.DataFrame) -> int | None:
    for at in range(frame.shape[1]):
        names = frame[at]
        sample = names.iloc[:: max(1, len(names) // 100)]
        if sum(map(looks_like_barcode, sample)) > 0.5 * len(sample):
            return at
    return None


def numbers_of(raw: RawFile, table: pd.DataFrame) -> pd.DataFrame:
    """Text to numbers; what is none is refused with its row, which the index counts."""
    done: dict[str, Any] = {"barcode": table["barcode"].reset_index(drop=True)}
    for key in NEEDED:
        texts = table[key].str.lower().replace(FLAGS) if key == "in_tissue" else table[key]
        done[key] = checked(raw, key, _parsed(texts), table[key])
    return pd.DataFrame(done)


def _parsed(texts: pd.Series) -> pd.Series:
    """Numbers, NaN where a text is none; pandas' own parser would be off by the last digit of many."""
    try:
        return texts.astype(np.float64)
    except ValueError:
        return pd.to_numeric(texts, errors="coerce")


def checked(raw: RawFile, key: str, values: pd.Series, shown: pd.Series) -> NDArray[Any]:
    """One column as int64 or float64; missing, infinite and, for places, broken numbers are refused."""
    numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
    good = np.isfinite(numbers)
    if key in WHOLE:
        good &= (numbers == np.floor(numbers)) & (np.abs(numbers) <= FARTHEST_PLACE)
    if key == "in_tissue":
        good &= (numbers == 0) | (numbers == 1)
    bad = np.flatnonzero(~good)
    if bad.size:
        what = {"in_tissue": "neither 0 nor 1"}.get(key, "no whole number" if key in WHOLE else "no number")
        more = f" (and {bad.size - 1:,} more such rows)" if bad.size > 1 else ""
        raise Refusal(
            f"{raw.name}: row {shown.index[bad[0]]:,}, {header_name(key)}: {str(shown.iloc[bad[0]])[:40]!r} is {what}"
            f"{more}; correct the table or download it again",
            measured=int(bad.size),
            threshold=0,
        )
    return numbers.astype(np.int64) if key in WHOLE else numbers


def refuse_twins(name: str, table: pd.DataFrame) -> None:
    """Refuse two spots of one capture area in the same place."""
    repeated = table.duplicated(["array_row", "array_col"])
    if repeated.any():
        row, col = table.loc[repeated, ["array_row", "array_col"]].iloc[0]
        raise Refusal(
            f"{name}: two spots are at row {row}, column {col} of the array ({int(repeated.sum()):,} such places); the"
            " file holds several capture areas, or is damaged",
            measured=int(repeated.sum()),
            threshold=0,
        )
