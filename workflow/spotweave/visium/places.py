"""Places of Visium spots in deposits without a positions file: barcode lists, and the Loupe alignment's pixels."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spotweave.deposits.naming import MATRIX
from spotweave.errors import Refusal
from spotweave.visium.barcode_lists import BarcodeList
from spotweave.visium.loupe import Loupe
from spotweave.visium.positions import Positions

SAME_ARRAY_FROM = 0.5  # places that the list and the alignment share; 6.5 mm is .35 of 11 mm
FROM_COUNTS = "counts"
NAMED_RAW = re.compile(rf"raw{MATRIX}")
WHOLE_FROM = 0.98  # of the array; a raw matrix lacks the few barcodes without a read


def of_list(found: BarcodeList, loupe: Loupe | None) -> Positions:
    """Positions of the whole array of the list that holds a sample's barcodes.

    Pixels are the Loupe alignment's, or NaN: the aligner then takes them from the fiducial frame. Spots are in tissue
    as Loupe has them; without, all have 0 and `in_tissue_from` in the report is `counts`, for `tissue_by_counts`.

    Raises
    ------
    Refusal
        The alignment is of another array.
    """
    table = pd.DataFrame(
        {
            "barcode": list(found.barcodes),
            "in_tissue": np.zeros(len(found.barcodes), dtype=np.int64),
            "array_row": found.array[:, 0],
            "array_col": found.array[:, 1],
            "y_px": np.nan,
            "x_px": np.nan,
        }
    )
    report: dict[str, Any] = {
        "positions_layout": found.name,
        "positions_list_sha256": found.sha256,
        "rows_in_positions": len(table),
        "position_columns_unused": [],
        "positions_from": "barcode list",
        "in_tissue_from": FROM_COUNTS,
        "in_tissue_known": False,
    }
    if loupe is None:
        return Positions(f"{found.name} (Space Ranger's barcode list)", table, report)
    report["positions_from"] = "loupe"
    if loupe.table["in_tissue"].any():
        report |= {"in_tissue_from": "loupe", "in_tissue_known": True}
    return Positions(f"{loupe.name} and {found.name}", _with_pixels(table, loupe, found.name), report)


def _with_pixels(table: pd.DataFrame, loupe: Loupe, list_name: str) -> pd.DataFrame:
    """A list's places with pixels and tissue of the alignment; NaN and 0 where it lacks one."""
    at = ["array_row", "array_col"]
    merged = table[["barcode", *at]].merge(loupe.table, on=at, how="left")
    shared = int(merged["x_px"].notna().sum())
    share = shared / max(len(table), len(loupe.table))
    if share < SAME_ARRAY_FROM:
        raise Refusal(
            f"{loupe.name}: of its {len(loupe.table):,} places {shared:,} are among the {len(table):,} of {list_name},"
            " which the barcodes are of; is it the alignment of this slide?",
            measured=round(share, 4),
            threshold=SAME_ARRAY_FROM,
        )
    merged["in_tissue"] = merged["in_tissue"].fillna(0).astype(np.int64)
    return merged[list(table.columns)]


def tissue_by_counts(
    matrix_name: str, spots: int, kept: NDArray[np.intp], totals: NDArray[np.int64]
) -> tuple[NDArray[np.int64], bool]:
    """Which spots are in tissue where only the counts can tell, and whether they can.

    A filtered matrix holds the spots that Space Ranger found in tissue, those without a count too. A raw one holds
    all, since version 1.3 all with a read: there nobody can tell, and every spot with a count is taken, so that both
    kinds of raw matrix read alike and no measured spot is dropped as glass.

    Parameters
    ----------
    matrix_name
        As its owner named it; `raw_feature_bc_matrix` says what it is.
    spots
        Number of spots of the array.
    kept, totals
        (K,) the spots that have a row in the counts, and the sum of each row.

    Returns
    -------
    (spots,) int64, 0 or 1, and whether it is known.
    """
    is_raw = bool(NAMED_RAW.search(matrix_name.lower())) or len(kept) >= WHOLE_FROM * spots
    in_tissue = np.zeros(spots, dtype=np.int64)
    in_tissue[kept[totals > 0] if is_raw else kept] = 1
    return in_tissue, not is_raw
