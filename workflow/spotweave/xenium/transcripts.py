"""Transcripts of a Xenium bundle as a stream: genes of high quality, everything else left out and counted.

    with transcripts.stream(raw) as calls:
        for batch in calls:
            ...                      # pyarrow.RecordBatch with the columns of SCHEMA
    calls.tally                      # what was left out, by reason

A phred-scaled quality of 20 is the vendor's own limit for its count matrix. The memory used is that of one batch,
whatever the size of the file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from tqdm import tqdm

from spotweave.deposits import arrow_tables
from spotweave.deposits.raw import RawFile
from spotweave.xenium.cells import cell_names
from spotweave.xenium.features import kinds_of_rows

MIN_QV = 20.0
SCHEMA = pa.schema(
    {
        "feature_name": pa.string(),
        "x_um": pa.float64(),
        "y_um": pa.float64(),
        "z_um": pa.float64(),
        "qv": pa.float64(),
        "cell_id": pa.string(),
        "overlaps_nucleus": pa.bool_(),
    }
)
NEEDED = ("feature_name", "x_location", "y_location", "qv")
WANTED = {
    "feature_name": pa.string(),
    "x_location": pa.float64(),
    "y_location": pa.float64(),
    "z_location": pa.float64(),
    "qv": pa.float64(),
    "cell_id": pa.string(),
    "overlaps_nucleus": pa.uint8(),
    "codeword_category": pa.string(),
    "is_gene": pa.bool_(),
}


@dataclass
class Tally:
    """What a stream has met so far.

    `rows` = `kept` + `low_quality` + the sum of `controls` + `no_position`. A control is counted as a control whatever
    its quality; `controls_of_quality` are those of them that reach the limit. `kept` = `in_cells` + `outside_cells`.
    """

    rows: int = 0
    kept: int = 0
    low_quality: int = 0
    no_position: int = 0
    controls: Counter[str] = field(default_factory=Counter)
    controls_of_quality: Counter[str] = field(default_factory=Counter)
    in_cells: int = 0
    outside_cells: int = 0
    in_nuclei: int = 0

    @property
    def control_rate(self) -> float | None:
        """Share of the controls among all calls of high quality; None without any."""
        controls = self.controls_of_quality.total()
        return controls / (controls + self.kept) if controls + self.kept else None

    def report(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "transcripts": self.rows,
            "transcripts_kept": self.kept,
            "transcripts_of_low_quality": self.low_quality,
            "transcripts_without_position": self.no_position,
            "transcripts_of_controls": dict(sorted(self.controls.items())),
            "transcripts_of_controls_of_quality": dict(sorted(self.controls_of_quality.items())),
            "transcripts_in_cells": self.in_cells,
            "transcripts_outside_cells": self.outside_cells,
            "transcripts_in_nuclei": self.in_nuclei,
            "transcript_control_rate": self.control_rate,
        }


class Stream:
    """Iterates once over the batches; `tally` counts what it has met, `min_qv` is the limit it holds."""

    def __init__(self, table: arrow_tables.Table, min_qv: float) -> None:
        self.min_qv = min_qv
        self.tally = Tally()
        self._table = table

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        with tqdm(total=self._table.rows, desc=self._table.name, unit=" transcripts", disable=None) as progress:
            for batch in self._table.batches:
                yield self._of_genes(batch)
                progress.update(len(batch))

    def _of_genes(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        given = {name: batch.column(name) for name in self._table.columns}
        names = arrow_tables.text(given["feature_name"])
        category = arrow_tables.text(given["codeword_category"]) if "codeword_category" in given else None
        is_gene = pc.cast(given["is_gene"], pa.bool_()) if "is_gene" in given else None
        kinds = kinds_of_rows(names, category, is_gene)
        xy = [arrow_tables.numbers(given[name]) for name in ("x_location", "y_location")]
        qv = arrow_tables.numbers(given["qv"])
        is_good = qv >= self.min_qv  # False for NaN, which is no quality
        is_control = np.asarray(kinds.is_valid())
        is_placed = np.isfinite(xy[0]) & np.isfinite(xy[1])
        chosen = ~is_control & is_good & is_placed
        nothing = np.full(len(batch), np.nan)
        cells = cell_names(given["cell_id"]) if "cell_id" in given else pa.nulls(len(batch), pa.string())
        nucleus = (
            arrow_tables.flags(given["overlaps_nucleus"]) if "overlaps_nucleus" in given else np.zeros(len(batch), bool)
        )
        columns = [
            names,
            *xy,
            arrow_tables.numbers(given["z_location"]) if "z_location" in given else nothing,
            qv,
            cells,
        ]
        genes = pa.record_batch([pa.array(column) for column in (*columns, nucleus)], schema=SCHEMA)
        genes = genes.filter(pa.array(chosen))
        self._count(kinds, is_control, is_good, is_placed, genes)
        return genes

    def _count(
        self,
        kinds: pa.Array,
        is_control: NDArray[np.bool_],
        is_good: NDArray[np.bool_],
        is_placed: NDArray[np.bool_],
        genes: pa.RecordBatch,
    ) -> None:
        tally = self.tally
        tally.rows += len(is_good)
        tally.kept += len(genes)
        tally.low_quality += int((~is_control & ~is_good).sum())
        tally.no_position += int((~is_control & is_good & ~is_placed).sum())
        tally.controls.update(_counted(kinds.drop_null()))
        tally.controls_of_quality.update(_counted(kinds.filter(pa.array(is_good)).drop_null()))
        outside = genes.column("cell_id").null_count
        tally.in_cells += len(genes) - outside
        tally.outside_cells += outside
        tally.in_nuclei += pc.sum(genes.column("overlaps_nucleus")).as_py() or 0


def _counted(kinds: pa.Array) -> dict[str, int]:
    return {entry["values"]: entry["counts"] for entry in pc.value_counts(kinds).to_pylist()}


@contextmanager
def stream(raw: RawFile, *, min_qv: float = MIN_QV) -> Iterator[Stream]:
    """Open the transcripts of a bundle.

    Parameters
    ----------
    raw
        `transcripts.parquet` or `transcripts.csv(.gz)`.
    min_qv
        The lowest phred-scaled quality to keep.

    Raises
    ------
    Refusal
        The file is damaged or no table of transcripts; also while it is read.
    """
    with arrow_tables.open_table(raw, WANTED, NEEDED) as table:
        yield Stream(table, min_qv)
