"""Where the spots of a Visium array lie: every form of Space Ranger's table of positions.

Without a header (before 2.0, and in many copies of any age), with one, as Parquet, packed once more, written again
by R or pandas with row names. In the file the pixel row comes before the pixel column; here x comes first.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spotweave.errors import Refusal
from spotweave.raw import RawFile

COLUMNS = ("barcode", "in_tissue", "array_row", "array_col", "pxl_row_in_fullres", "pxl_col_in_fullres")
ALIASES = {
    "barcodes": "barcode",
    "spot_id": "barcode",
    "tissue": "in_tissue",
    "row": "array_row",
    "col": "array_col",
    "imagerow": "pxl_row_in_fullres",
    "imagecol": "pxl_col_in_fullres",
}
EXPECTED = ", ".join(COLUMNS)
PARQUET = b"PAR1"


@dataclass(frozen=True)
class Positions:
    """A table of positions.

    Attributes
    ----------
    name
        The file's, for messages.
    table
        `barcode` (str, unique), `in_tissue` (0/1), `array_row`, `array_col` (int64), `x_px`, `y_px` (float64), rows as
        filed.
    report
        JSON-ready: what the file was.
    """

    name: str
    table: pd.DataFrame
    report: dict[str, Any]


def read_positions(raw: RawFile) -> Positions:
    """Read a table of positions.

    Raises
    ------
    Refusal
        It is none, a value is no number, or a barcode is there twice.
    """
    with open(raw.path, "rb") as handle:
        head = handle.read(4)
    if not head:
        raise Refusal(f"{raw.name}: the file is empty; download it again")
    if head.startswith(PARQUET):
        frame, form = _read_parquet(raw), "Parquet"
    else:
        frame, form = _read_text(raw)
    return Positions(raw.name, _checked(frame, raw.name), {"positions_format": form, "positions_rows": len(frame)})


def _read_parquet(raw: RawFile) -> pd.DataFrame:
    try:
        frame = pd.read_parquet(raw.path)
    except (OSError, ValueError) as error:
        raise Refusal(f"{raw.name}: damaged Parquet ({error}); download it again") from error
    return _named(frame.reset_index() if frame.index.name == "barcode" else frame, raw.name)


def _read_text(raw: RawFile) -> tuple[pd.DataFrame, str]:
    try:
        with open(raw.path, "rb") as handle:
            data = handle.read()
        text = (gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data).decode("utf-8-sig")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise Refusal(f"{raw.name}: cannot be read as text ({error}); download it again") from error
    first = text.partition("\n")[0]
    delimiter = max(",\t;", key=first.count)
    rows = [[field.strip() for field in row] for row in csv.reader(io.StringIO(text), delimiter=delimiter) if any(row)]
    if not rows or len(rows[0]) < len(COLUMNS) - 1:
        raise Refusal(f"{raw.name}: expected a table of {EXPECTED}; it starts with {first[:80]!r}")
    width = max(map(len, rows))
    has_header = any(_canonical(field) in ("in_tissue", "array_row") for field in rows[0])
    header, body = (rows[0], rows[1:]) if has_header else (list(COLUMNS), rows)
    if has_header and len(header) == width - 1:  # R leaves the name over the row names out
        header = ["", *header]
    ragged = [number for number, row in enumerate(body, start=1 + has_header) if len(row) != len(header)]
    if ragged:
        raise Refusal(
            f"{raw.name}: row {ragged[0]} has {len(body[ragged[0] - 1 - has_header])} fields of {len(header)} (and"
            f" {len(ragged) - 1:,} more such rows); download the file again",
            measured=len(ragged),
            threshold=0,
        )
    frame = pd.DataFrame(body, columns=header, dtype=str)
    return _named(frame, raw.name), "text with a header" if has_header else "text without a header"


def _canonical(name: str) -> str:
    plain = name.strip().strip('"').lower()
    return ALIASES.get(plain, plain)


def _named(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """The six columns by their names; a first column without one holds the barcodes."""
    names = [_canonical(str(column)) for column in frame.columns]
    if "barcode" not in names and names and names[0] in ("", "unnamed: 0", "x", "index"):
        names[0] = "barcode"
    missing = [column for column in COLUMNS if column not in names]
    if missing:
        raise Refusal(
            f"{name}: there is no column {', '.join(missing)}; it has {', '.join(map(str, frame.columns))[:200]}"
        )
    frame = frame.set_axis(names, axis=1)
    return frame.loc[:, ~frame.columns.duplicated()][list(COLUMNS)]


def _checked(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    numbers = {column: _numbers(frame[column], name, column) for column in COLUMNS[1:]}
    for column in COLUMNS[1:4]:
        whole = numbers[column]
        if (broken := whole != np.floor(whole)).any():
            row = int(np.flatnonzero(broken)[0])
            raise Refusal(f"{name}: {column} of {frame['barcode'].iloc[row]} is {whole[row]:g}, not a whole number")
    if not np.isin(numbers["in_tissue"], (0, 1)).all():
        raise Refusal(f"{name}: in_tissue is neither 0 nor 1 in every row; are columns swapped? expected {EXPECTED}")
    barcodes = frame["barcode"].astype(str).str.strip()
    if (twice := barcodes.duplicated()).any():
        raise Refusal(
            f"{name}: {int(twice.sum()):,} barcodes are there twice, first {barcodes[twice].iloc[0]}; is it a joint"
            " table of several samples? Split it",
            measured=int(twice.sum()),
            threshold=0,
        )
    return pd.DataFrame(
        {
            "barcode": barcodes.to_numpy(dtype=object),
            "in_tissue": numbers["in_tissue"].astype(np.int64),
            "array_row": numbers["array_row"].astype(np.int64),
            "array_col": numbers["array_col"].astype(np.int64),
            "x_px": numbers["pxl_col_in_fullres"],
            "y_px": numbers["pxl_row_in_fullres"],
        }
    )


def _numbers(column: pd.Series, name: str, what: str) -> NDArray[np.float64]:
    values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64)
    if (broken := ~np.isfinite(values)).any():
        row = int(np.flatnonzero(broken)[0])
        raise Refusal(
            f"{name}: {what} is {column.iloc[row]!r} in row {row + 1}, not a number (and {int(broken.sum()) - 1:,} more);"
            f" expected {EXPECTED}",
            measured=int(broken.sum()),
            threshold=0,
        )
    return values


def read_loupe(raw: RawFile) -> pd.DataFrame:
    """Spots of a Loupe alignment file, keyed by their place on the array: it names no barcodes.

    Returns
    -------
    DataFrame
        `array_row`, `array_col` (int64), `x_px`, `y_px` (float64, full-resolution H&E), `in_tissue` (0/1). A CytAssist
        alignment holds places on the instrument's picture: the inverse of its transform leads to the H&E.
    """
    try:
        content = json.loads(raw.path.read_text(encoding="utf-8"))
        oligo = content["oligo"]
        table = pd.DataFrame(
            {
                "array_row": [int(spot["row"]) for spot in oligo],
                "array_col": [int(spot["col"]) for spot in oligo],
                "x_px": [float(spot["imageX"]) for spot in oligo],
                "y_px": [float(spot["imageY"]) for spot in oligo],
                "in_tissue": [int(bool(spot.get("tissue", False))) for spot in oligo],
            }
        )
        info: Mapping[str, Any] = content.get("cytAssistInfo") or {}
        if "transformImages" in info:
            matrix = np.asarray(info["transformImages"], dtype=np.float64).reshape(3, 3)
            there = np.linalg.solve(matrix, np.vstack([table["x_px"], table["y_px"], np.ones(len(table))]))
            table["x_px"], table["y_px"] = there[0] / there[2], there[1] / there[2]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError, np.linalg.LinAlgError) as error:
        raise Refusal(f"{raw.name}: not a Loupe alignment file ({type(error).__name__}: {error})") from error
    return table.astype({"array_row": np.int64, "array_col": np.int64, "in_tissue": np.int64})
