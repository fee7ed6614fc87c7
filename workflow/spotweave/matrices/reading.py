"""What reading a sample gives: raw counts of its units, a table of all units of the vendor's file, and measures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from numpy.typing import NDArray

if TYPE_CHECKING:  # the table of spots is read without them
    from anndata import AnnData
    from scipy.sparse import csr_matrix

from spotweave.matrices.matrix import how_often, row_sums

SPOT_COLUMNS = (
    "spot_id",
    "array_col",
    "array_row",
    "array_x",
    "array_y",
    "x_px",
    "y_px",
    "in_tissue",
    "total_counts",
)
ROWS_AT_ONCE = 1 << 20
# Between these, Arrow writes a number as pandas does, but for the ".0" of whole ones; beyond, with another exponent.
PLAIN_LEAST, PLAIN_MOST = 1e-4, 1e9


@dataclass(frozen=True)
class Reading:
    """What a reader returns.

    Attributes
    ----------
    adata
        X: raw counts, CSR float32, units x genes, only units with counts and a position. obs: `x_px`, `y_px`
        (float64, as the vendor gives them, NaN if not given), `in_tissue` (int64, 0/1) and, for spots and bins,
        `array_col`, `array_row` (int64); cells have no array. var: `gene_id` (str, empty if unknown). Spots and bins
        sorted by (array_row, array_col), cells by name, genes as filed.
    spots
        `SPOT_COLUMNS`, one row per unit of the vendor's spot or cell file, in the same order; `array_col`,
        `array_row` Int64 (missing for cells), `array_x`, `array_y` float64 (NaN if not measured), `total_counts`
        Int64 (missing where the counts have no such unit).
    report
        JSON-ready measures: what was found, kept and left out; `unit` says what a row is: `spot`, `bin` or `cell`.
    """

    adata: AnnData
    spots: pd.DataFrame
    report: dict[str, Any]

    def write(self, expression: Path, spots: Path) -> None:
        """Write `expression` (.h5ad, gzip) and `spots` (.csv); the same reading gives the same bytes."""
        self.adata.write_h5ad(expression, compression="gzip")
        write_csv(self.spots, spots)


def totals_of(counts: csr_matrix) -> NDArray[np.int64]:
    """(units,) int64, the counts of each; scipy sums float32 in float32, whatever the dtype asked for."""
    return row_sums(counts).astype(np.int64)


def measures(counts: csr_matrix, totals: NDArray[np.int64]) -> dict[str, int]:
    """JSON-ready measures that every technology has: all counts, genes and units without any."""
    return {
        "total_counts": int(totals.sum()),
        "zero_genes": int((how_often(counts.indices, counts.shape[1]) == 0).sum()),
        "zero_spots": int((totals == 0).sum()),
    }


def spot_table(
    spot_ids: Any,
    xy_px: tuple[Any, Any],
    in_tissue: Any,
    counted: tuple[NDArray[np.intp], NDArray[np.int64]],
    *,
    array: tuple[Any, Any] | None = None,
    measured: tuple[Any, Any] | None = None,
) -> pd.DataFrame:
    """The table of all units of the vendor's file, as `Reading` has it.

    Parameters
    ----------
    spot_ids
        (N,) names.
    xy_px
        x and y, (N,) float64 each.
    in_tissue
        (N,) int64, 0 or 1.
    counted
        (K,) rows that have counts, and the sum of each.
    array
        Columns and rows of the array, (N,) whole numbers each; None for cells, which have none.
    measured
        x and y on the array, (N,) float64 each; None where they were not measured.
    """
    kept, totals = counted
    number = len(spot_ids)
    has_none = np.ones(number, dtype=bool)
    total = np.zeros(number, dtype=np.int64)
    total[kept], has_none[kept] = totals, False
    nothing = np.full(number, np.nan)
    unknown = pd.array([pd.NA] * number, dtype="Int64") if array is None else None
    columns = (
        spot_ids,
        *((unknown, unknown) if array is None else (pd.array(places, dtype="Int64") for places in array)),
        *((nothing, nothing) if measured is None else measured),
        *xy_px,
        in_tissue,
        pd.arrays.IntegerArray(total, has_none),
    )
    return pd.DataFrame(dict(zip(SPOT_COLUMNS, columns, strict=True)))


def read_spots(path: Path) -> pd.DataFrame:
    """Read the table of units that `Reading.write` wrote, numbers to the last bit and names as they are.

    Missing whole numbers make their column float64. A Visium HD section has 11 million rows: names stay in Arrow.
    """
    kinds = dict.fromkeys(SPOT_COLUMNS, pa.float64()) | {
        "spot_id": pa.string(),
        **dict.fromkeys(("array_col", "array_row", "in_tissue", "total_counts"), pa.int64()),
    }
    options = pa.csv.ConvertOptions(column_types=kinds, strings_can_be_null=False)
    table = pa.csv.read_csv(path, convert_options=options)
    return table.to_pandas(types_mapper={pa.string(): pd.StringDtype("pyarrow")}.get)


def write_csv(frame: pd.DataFrame, target: Path) -> None:
    """Write a table as CSV (UTF-8, `\\n`, missing values blank, floats as short as they can be read back).

    A Visium HD section has 11 million rows: Arrow writes them, with the bytes that pandas would write. What the two
    write differently (quotes, very small and very large numbers, other types) is left to pandas.
    """
    table = pa.Table.from_pandas(frame, preserve_index=False)
    if not all(map(_is_plain, [*table.columns, pa.chunked_array([frame.columns.to_list()])])):
        frame.to_csv(target, index=False, lineterminator="\n", encoding="utf-8")
        return
    names = table.column_names
    with open(target, "wb") as handle:
        handle.write(f"{','.join(names)}\n".encode())
        for batch in table.to_batches(max_chunksize=ROWS_AT_ONCE):
            part = pa.table([_as_written(column) for column in batch.columns], names=names)
            options = pa.csv.WriteOptions(include_header=False, quoting_style="none")
            pa.csv.write_csv(part, handle, options)


def _is_plain(column: pa.ChunkedArray) -> bool:
    """Whether Arrow and pandas write a column's values the same way (but for whole floats)."""
    if pa.types.is_integer(column.type) or pa.types.is_null(column.type):
        return True
    if pa.types.is_float64(column.type):
        size = pc.abs(column)
        beyond = pc.or_(pc.less(size, PLAIN_LEAST), pc.greater_equal(size, PLAIN_MOST))
        return not pc.any(pc.and_(beyond, pc.not_equal(size, 0))).as_py()
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return not pc.any(pc.match_substring_regex(column, r'[",\r\n]')).as_py()
    return False


def _as_written(column: pa.Array) -> pa.Array:
    """A column with its floats as text: whole ones with the `.0` by which they are read as floats again."""
    if not pa.types.is_float64(column.type):
        return column
    text = column.cast(pa.string())
    return pc.if_else(pc.equal(column, pc.floor(column)), pc.binary_join_element_wise(text, ".0", ""), text)
