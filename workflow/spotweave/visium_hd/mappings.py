"""Which 2 um bins are in which cell: `barcode_mappings.parquet` of Space Ranger 4."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
from tqdm import tqdm

from spotweave.deposits import arrow_tables
from spotweave.deposits.raw import RawFile, find_raw
from spotweave.errors import Refusal

WANTED = {"cell_id": pa.string(), "in_nucleus": pa.bool_(), "in_cell": pa.bool_()}
BIN = "square_002um"
RELEASED = pa.schema([("bin_id", pa.string()), ("cell_id", pa.string()), ("in_nucleus", pa.bool_())])


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


def write_map(manifest: Path, target: Path) -> dict[str, Any]:
    """Write the bins that are in cells as the table `RELEASED` (parquet), in the order of the vendor's.

    No count depends on it: without the file, or with a damaged one, the table is empty and `note` says why.

    Parameters
    ----------
    manifest
        The sample's raw files; the role is `barcode_mappings`.

    Returns
    -------
    dict
        `bins_mapped` (all of the vendor's table), `bins_in_cells` (those of ours), `bins_in_nuclei`, and `note`.
    """
    raw = find_raw(manifest, "barcode_mappings")
    note = "the deposit has no map of bins and cells (barcode_mappings.parquet)"
    if raw is not None:
        try:
            return {**_write(raw, target), "note": None}
        except Refusal as refusal:
            note = f"{refusal.reason}; passed over"
    pyarrow.parquet.write_table(RELEASED.empty_table(), target)
    return {"bins_mapped": 0, "bins_in_cells": 0, "bins_in_nuclei": 0, "note": note}


def _write(raw: RawFile, target: Path) -> dict[str, int]:
    """Batch by batch: a whole area has eleven million bins."""
    rows = in_cells = in_nuclei = 0
    wanted = {BIN: pa.string(), **WANTED}
    with (
        arrow_tables.open_table(raw, wanted, (BIN, "cell_id")) as table,
        pyarrow.parquet.ParquetWriter(target, RELEASED) as writer,
        tqdm(desc=raw.name, total=table.rows, unit=" bins", unit_scale=True, disable=None) as progress,
    ):
        for batch in table.batches:
            cells = arrow_tables.text(batch.column("cell_id"))
            there = pc.and_(cells.is_valid(), pc.not_equal(pc.fill_null(cells, ""), ""))
            nuclei = pa.array([False] * len(batch))
            if "in_nucleus" in table.columns:
                nuclei = pa.array(arrow_tables.flags(batch.column("in_nucleus")))
            columns = [arrow_tables.text(batch.column(BIN)), cells, nuclei]
            kept = pa.RecordBatch.from_arrays([column.filter(there) for column in columns], schema=RELEASED)
            writer.write_batch(kept)
            rows, in_cells = rows + len(batch), in_cells + len(kept)
            in_nuclei += int(pc.sum(kept.column("in_nucleus")).as_py() or 0)
            progress.update(len(batch))
    return {"bins_mapped": rows, "bins_in_cells": in_cells, "bins_in_nuclei": in_nuclei}
