"""Positions of spots and bins as Space Ranger and copies of its files write them.

    read_positions(raw) -> Positions      tissue_positions(_list).csv/.txt/.parquet, or an h5ad that carries them

Space Ranger 1 writes no header, 2 and later do, and so do some deposits of 1; Visium HD writes parquet. Whatever the
file, the result is the same; spots off the tissue without numbers are left out and counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spotweave.deposits.opening import HDF5_MAGIC, first_bytes, parses, read_bytes
from spotweave.deposits.raw import RawFile
from spotweave.deposits.values import UNKNOWN
from spotweave.errors import Refusal
from spotweave.visium.positions_columns import NEEDED, Filed, header_name
from spotweave.visium.positions_text import read_text
from spotweave.visium.positions_typed import read_h5ad, read_parquet

PARQUET_MAGIC = b"PAR1"
WHOLE = ("in_tissue", "array_row", "array_col")
FARTHEST_PLACE = 1 << 24  # on an array; the whole 2 um bins of Visium HD are 3,350 on a side
THOUSANDS = r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?"
FLAGS = {"true": "1", "false": "0", "t": "1", "f": "0", "yes": "1", "no": "0"}


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
        The file is damaged or of another layout, a number is missing in tissue or none, or a barcode comes twice;
        `NoPositions` where an AnnData file has none.
    """
    head, is_packed = first_bytes(raw)
    if head.startswith(HDF5_MAGIC):
        filed = read_h5ad(raw)
    elif head.startswith(PARQUET_MAGIC):
        filed = read_parquet(raw, read_bytes(raw) if is_packed else None)
    else:
        filed = read_text(raw, read_bytes(raw))
    off = _off_tissue_without_numbers(filed.table)
    table = _numbers_of(raw, filed, off)
    columns = {name: [values[row] for row in np.flatnonzero(~off)] for name, values in filed.others.items()}
    _check(raw, table, columns)
    report = {
        "positions_layout": filed.layout,
        "rows_in_positions": len(table),
        "spots_in_tissue": int(table["in_tissue"].sum()),
        "position_columns_unused": filed.unused,
        "positions_without_numbers": int(off.sum()),
        **filed.left_out,
    }
    return Positions(raw.name, table, report, columns)


def _off_tissue_without_numbers(table: pd.DataFrame) -> NDArray[np.bool_]:
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


def _numbers_of(raw: RawFile, filed: Filed, off: NDArray[np.bool_]) -> pd.DataFrame:
    """A table's rows but those left out, in numbers; what is none is refused with its row, which the index counts."""
    cut = filed.ends_early[filed.ends_early.index.isin(filed.table.index[off])]
    if len(cut):
        raise Refusal(
            f"{raw.name}: row {cut.index[0]:,} has {cut.iloc[0]} fields where {filed.width} are expected; the table is"
            " cut or damaged, download it again",
            measured=int(cut.iloc[0]),
            threshold=filed.width,
        )
    table = filed.table[~off] if off.any() else filed.table
    if filed.layout.startswith("text"):
        table = pd.DataFrame({key: _with_points(raw, key, table[key]) for key in NEEDED})
    done: dict[str, Any] = {"barcode": filed.barcodes[~off].reset_index(drop=True)}
    for key in NEEDED:
        done[key] = _checked(raw, key, _parsed(key, table[key], filed.layout), table[key])
    return pd.DataFrame(done)


def _with_points(raw: RawFile, key: str, texts: pd.Series) -> pd.Series:
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


def _parsed(key: str, filed: pd.Series, layout: str) -> pd.Series:
    """Numbers, NaN where a value is none."""
    if layout == "parquet":
        return pd.to_numeric(filed, errors="coerce")
    texts = filed.astype(str).str.lower().replace(FLAGS) if key == "in_tissue" else filed.astype(str)
    if layout != "h5ad":  # pandas' own parser would be off by the last digit of many
        try:
            return texts.astype(np.float64)
        except ValueError:
            pass
    return pd.to_numeric(texts, errors="coerce")


def _checked(raw: RawFile, key: str, values: pd.Series, shown: pd.Series) -> NDArray[Any]:
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
