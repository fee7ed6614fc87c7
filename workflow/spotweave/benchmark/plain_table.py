"""Tables that are made on request: mappings as CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

DECIMALS = 6


def as_csv(columns: Sequence[str], table: Iterable[Mapping[str, Any]]) -> str:
    """Rows of these columns; numbers to six decimals, empty where there is none."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(row.get(column, "")) for column in columns] for row in table)
    return text.getvalue()


def _cell(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return "" if math.isnan(value) else str(round(value, DECIMALS) + 0.0)
