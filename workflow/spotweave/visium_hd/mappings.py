"""Which 2 um bins are in which cell: `barcode_mappings.parquet` of Space Ranger 4."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from spotweave.deposits import arrow_tables
from spotweave.deposits.raw import RawFile

WANTED = {"cell_id": pa.string(), "in_nucleus": pa.bool_(), "in_cell": pa.bool_()}


def summarise(raw: RawFile, cells: pd.Index) -> dict[str, Any]:
    """Bins in cells and in nuclei, and which of the `cells` have none.

    Returns
    -------
    report
        `bins_mapped`, `bins_in_cells`, `bins_in_nuclei`, `cells_mapped`, `cells_without_bins`; JSON-ready.

    Raises
    ------
    Refusal
        The file is damaged or no such table.
    """
    rows = in_cells = in_nuclei = 0
    named: set[str] = set()
    with arrow_tables.open_table(raw, WANTED, ("cell_id",)) as table:
        for batch in table.batches:
            names = arrow_tables.text(batch.column("cell_id"))
            rows += len(batch)
            in_cells += len(names) - names.null_count
            if "in_nucleus" in table.columns:
                in_nuclei += int(arrow_tables.flags(batch.column("in_nucleus")).sum())
            named.update(pc.unique(names.drop_null()).to_pylist())
    return {
        "bins_mapped": rows,
        "bins_in_cells": in_cells,
        "bins_in_nuclei": in_nuclei,
        "cells_mapped": len(named),
        "cells_without_bins": int((~cells.isin(named)).sum()),
    }
