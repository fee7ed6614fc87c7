"""What a cell of a deposited table says: a number, a word, or that nothing is known."""

from __future__ import annotations

import math
import re
from typing import Any

LONGEST_NUMBER = 40  # characters
NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
# What tables say where nothing is known: missing values of R, pandas and Arrow as text.
UNKNOWN = {"", "nan", "na", "n/a", "none", "null", "<na>", "-", ".", "unknown"}
LONGEST_UNKNOWN = max(map(len, UNKNOWN))


def blank_if_unknown(text: Any) -> str:
    """A text of a table, empty where it says that nothing is known."""
    found = str(text).strip()
    return "" if len(found) <= LONGEST_UNKNOWN and found.lower() in UNKNOWN else found


def plain_number(value: Any) -> float | None:
    """The finite number that a value of a JSON file is, also as text or as a list of one; None for anything else."""
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, str):
        text = blank_if_unknown(value).replace(",", ".")
        value = float(text) if len(text) <= LONGEST_NUMBER and NUMBER.fullmatch(text) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
