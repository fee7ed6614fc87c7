"""The long table of scores: one row a value, whatever the metric, the predictor or the level.

Columns `COLUMNS`, sorted by all but the value. `sample_id` is empty for values over all test samples of a fold, `gene`
for values over all genes; `value` is null where the metric is undefined. Everything that ranks, compares or draws
scores reads this table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from spotweave.metrics import Array

KEYS = ("task", "protocol", "predictor")
SCHEMA = pa.schema(
    [
        ("task", pa.string()),
        ("protocol", pa.string()),
        ("predictor", pa.string()),
        ("fold", pa.int32()),
        ("sample_id", pa.string()),
        ("gene", pa.string()),
        ("metric", pa.string()),
        ("value", pa.float64()),
    ]
)
COLUMNS = tuple(SCHEMA.names)
EMPTY = SCHEMA.empty_table()
# Finer than any difference that means something, coarser than the last bits of another processor.
VALUE_DECIMALS = 9


def rows(
    labels: Mapping[str, Any], metric: str, sample_ids: Sequence[str], genes: Sequence[str], values: Array
) -> pa.Table:
    """Rows of one metric of one fold.

    Parameters
    ----------
    labels
        `task`, `protocol`, `predictor` and `fold`.
    sample_ids, genes, values
        One entry a row.
    """
    count = len(values)
    constant = {name: [labels[name]] * count for name in (*KEYS, "fold")}
    # Zero is added: what rounds to zero has the sign of its last bits, and -0.0 other bytes than 0.0.
    rounded = np.round(values.astype(np.float64), VALUE_DECIMALS) + 0.0
    numbers = pa.array(rounded, from_pandas=True)
    columns = {**constant, "sample_id": sample_ids, "gene": genes, "metric": [metric] * count, "value": numbers}
    return pa.table(columns, schema=SCHEMA)


def sorted_table(table: pa.Table) -> pa.Table:
    """The rows of one table in order."""
    return table.sort_by([(name, "ascending") for name in COLUMNS[:-1]])


class Writer:
    """Writes the table part after part; the parts come sorted and in order. A context manager."""

    def __init__(self, path: Path) -> None:
        self._writer = pq.ParquetWriter(path, SCHEMA, compression="zstd", store_schema=False)

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def write(self, part: pa.Table) -> None:
        """Add rows."""
        if len(part):
            self._writer.write_table(part)


def gather(parts: Iterable[Path], path: Path) -> None:
    """Lay the tables of tasks and protocols one behind the other, in order, whatever the order of their paths."""
    with Writer(path) as table:
        for part in sorted(parts, key=_first):
            table.write(pq.read_table(part, schema=SCHEMA))


def _first(part: Path) -> list[str]:
    """What the first row of a table belongs to."""
    batch = next(pq.ParquetFile(part).iter_batches(1, columns=list(KEYS)), None)
    return [] if batch is None else [batch[name][0].as_py() for name in KEYS]


def read(paths: Iterable[Path]) -> pd.DataFrame:
    """The rows of one table or more, as `COLUMNS`; texts are categories."""
    texts = [field.name for field in SCHEMA if field.type == pa.string()]
    tables = [pq.read_table(path, read_dictionary=texts) for path in paths]
    return pa.concat_tables(tables).unify_dictionaries().to_pandas() if tables else EMPTY.to_pandas()


def folds_of(scores: pd.DataFrame, metric: str) -> dict[int, Array]:
    """Values of one metric of one predictor, fold -> array, as `score` gave them.

    Parameters
    ----------
    scores
        Rows of one task, protocol and predictor.

    Returns
    -------
    values
        (U, G) by sample and gene, or without dimensions for one number a fold.
    """
    own = scores[scores["metric"] == metric]
    found = {}
    for fold, rows_of_fold in own.groupby("fold", sort=True):
        values = rows_of_fold["value"].to_numpy(dtype=np.float64)
        if (rows_of_fold["gene"] == "").all():
            found[int(fold)] = values.reshape(())
        else:
            found[int(fold)] = values.reshape(rows_of_fold["sample_id"].nunique(), -1)
    return found


def units_of(scores: pd.DataFrame, metric: str) -> dict[tuple[int, str], Array]:
    """The same by fold and sample (an empty name for what is over all of them): (G,) by gene, or one number."""
    own = scores[scores["metric"] == metric]
    found = {}
    for (fold, sample), rows_of_unit in own.groupby(["fold", "sample_id"], sort=True, observed=True):
        values = rows_of_unit["value"].to_numpy(dtype=np.float64)
        found[int(fold), str(sample)] = values.reshape(()) if (rows_of_unit["gene"] == "").all() else values
    return found
