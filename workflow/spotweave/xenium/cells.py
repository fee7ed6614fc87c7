"""The cells of a Xenium bundle: `cells.parquet` or `cells.csv(.gz)`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from spotweave.deposits import arrow_tables
from spotweave.deposits.raw import RawFile
from spotweave.errors import Refusal

NEEDED = ("cell_id", "x_centroid", "y_centroid")
MEASURES = {
    "x_centroid": "x_um",
    "y_centroid": "y_um",
    "cell_area": "cell_area_um2",
    "nucleus_area": "nucleus_area_um2",
    "nucleus_count": "nuclei",
    "transcript_counts": "transcript_counts",
    "total_counts": "total_counts",
}
CONTROLS = (
    "control_probe_counts",
    "control_codeword_counts",
    "genomic_control_counts",
    "unassigned_codeword_counts",
    "deprecated_codeword_counts",
)
METHOD = "segmentation_method"
WANTED = {
    "cell_id": pa.string(),
    **dict.fromkeys((*MEASURES, *CONTROLS), pa.float64()),
    METHOD: pa.string(),
}


@dataclass(frozen=True)
class Cells:
    """The cells of one file, as filed.

    Attributes
    ----------
    name
        The file's, for messages.
    table
        `cell_id` (str), `x_um`, `y_um`, `cell_area_um2`, `nucleus_area_um2`, `nuclei`, `transcript_counts`,
        `total_counts` (float64, NaN where not given).
    report
        JSON-ready: controls counted by kind and their share of all calls, cells without a nucleus, methods.
    """

    name: str
    table: pd.DataFrame
    report: dict[str, Any]


def read_cells(raw: RawFile) -> Cells:
    """Read the cells.

    Raises
    ------
    Refusal
        The file is damaged or no table of cells, a cell has no name or no place, or a name comes twice.
    """
    parts: list[pd.DataFrame] = []
    methods: Counter[str] = Counter()
    with arrow_tables.open_table(raw, WANTED, NEEDED) as table:
        for batch in table.batches:
            given = {name: batch.column(name) for name in table.columns}
            part = {"cell_id": cell_names(given["cell_id"]).to_pandas()}
            part |= {name: arrow_tables.numbers(given[name]) for name in (*MEASURES, *CONTROLS) if name in given}
            parts.append(pd.DataFrame(part))
            if METHOD in given:
                methods.update(name or "" for name in arrow_tables.text(given[METHOD]).to_pylist())
    if not parts or not sum(map(len, parts)):
        raise Refusal(f"{raw.name}: the table has a header and no cells; download the file again")
    filed = pd.concat(parts, ignore_index=True)
    _check(raw.name, filed)
    nothing = np.full(len(filed), np.nan)
    done = {"cell_id": filed["cell_id"].to_numpy(dtype=object)}
    done |= {new: filed[old].to_numpy() if old in filed else nothing for old, new in MEASURES.items()}
    cells = pd.DataFrame(done)
    report = {
        "cell_columns_unused": table.unused,
        "columns_not_given": _not_given(cells),
        "cells_without_nucleus": _without_nucleus(cells),
        "cells_with_several_nuclei": int((cells["nuclei"] > 1).sum()),
        "cells_by_segmentation_method": dict(sorted(methods.items())),
        **_controls(filed),
    }
    return Cells(raw.name, cells, report)


def cell_names(column: pa.Array) -> pa.Array:
    """Names of cells as text, missing where a row belongs to none: -1 before Xenium 1.3, `UNASSIGNED` since."""
    names = arrow_tables.text(column)
    nothing = pc.is_in(names, value_set=pa.array(["-1", "UNASSIGNED", ""]))
    return pc.if_else(nothing, pa.scalar(None, pa.string()), names)


def _check(name: str, filed: pd.DataFrame) -> None:
    nameless = int(filed["cell_id"].isna().sum())
    if nameless:
        raise Refusal(
            f"{name}: {nameless:,} cells have no cell_id; download the file again", measured=nameless, threshold=0
        )
    lost = np.flatnonzero(~np.isfinite(filed[["x_centroid", "y_centroid"]]).all(axis=1))
    if lost.size:
        raise Refusal(
            f"{name}: cell {filed['cell_id'].iloc[lost[0]]} has no centroid ({lost.size:,} such cells); download the "
            "file again",
            measured=int(lost.size),
            threshold=0,
        )
    twice = filed["cell_id"].duplicated()
    if twice.any():
        raise Refusal(
            f"{name}: cell {filed['cell_id'][twice].iloc[0]} comes twice ({int(twice.sum()):,} such rows); are these "
            "several regions in one table? Give one region's",
            measured=int(twice.sum()),
            threshold=0,
        )


def _without_nucleus(cells: pd.DataFrame) -> int | None:
    """Cells whose nucleus has no area (not given, or 0); None where the file does not tell."""
    area = cells["nucleus_area_um2"]
    return None if area.isna().all() else int((area.isna() | (area == 0)).sum())


def _not_given(cells: pd.DataFrame) -> list[str]:
    """Measures that every version files and that some cells lack; a cell may have no nucleus, not all of them."""
    lacking = {
        name: int(cells[name].isna().sum()) for name in ("cell_area_um2", "nucleus_area_um2", "transcript_counts")
    }
    return [
        f"{name} of {count:,} cells"
        for name, count in lacking.items()
        if count and (name != "nucleus_area_um2" or count == len(cells))
    ]


def _controls(filed: pd.DataFrame) -> dict[str, Any]:
    """Control calls in cells, by column, and negative controls as a share of all calls, None if unknown."""
    counted = {name: int(np.nansum(filed[name])) for name in CONTROLS if name in filed}
    negative = sum(counted.get(name, 0) for name in ("control_probe_counts", "control_codeword_counts"))
    calls = int(np.nansum(filed["total_counts"])) if "total_counts" in filed else 0
    return {"control_counts": counted, "control_rate": negative / calls if calls and counted else None}
