"""Loupe's alignment JSON: positions by place on the array, without barcodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spotweave.deposits.opening import parses, read_json
from spotweave.deposits.raw import RawFile
from spotweave.errors import Refusal
from spotweave.visium.array import refuse_twins


@dataclass(frozen=True)
class Loupe:
    """A Loupe alignment.

    Attributes
    ----------
    name
        The file's, for messages.
    table
        `array_row`, `array_col` (int64), `in_tissue` (int64, 0/1), `y_px`, `x_px` (float64, px of the full-resolution
        H&E), one row per spot, sorted by place.
    serial_number, area
        Of the slide, empty if not given.
    is_cytassist
        Whether the spots were moved from the instrument's picture to the H&E.
    to_instrument
        (3, 3) float64, px of the H&E -> px of the CytAssist picture; None for slides placed directly.
    """

    name: str
    table: pd.DataFrame
    serial_number: str
    area: str
    is_cytassist: bool
    to_instrument: NDArray[np.float64] | None = None


@parses
def read_loupe(raw: RawFile) -> Loupe:
    """Read a Loupe alignment JSON.

    `oligo` lists the spots with `row`, `col` (array_col, both from 0), `imageX`, `imageY` in px and `tissue` where
    selected. Files of CytAssist slides give px of the instrument's picture, and in
    `cytAssistInfo.transformImages` the (3, 3) map from the H&E to it, of which the inverse is applied.

    Raises
    ------
    Refusal
        It is no alignment, or its spots have no place in the picture.
    """
    content = read_json(raw)
    oligo = content.get("oligo") if isinstance(content, Mapping) else None
    if not isinstance(oligo, list) or not oligo:
        raise Refusal(
            f"{raw.name}: no Loupe alignment, it has no list 'oligo'; give the alignment JSON or leave it out"
        )
    try:
        places = np.array([[int(spot["row"]), int(spot["col"])] for spot in oligo], dtype=np.int64)
        pixels = np.array([[float(spot["imageX"]), float(spot["imageY"])] for spot in oligo], dtype=np.float64)
        matrix = (content.get("cytAssistInfo") or {}).get("transformImages")
        to_instrument = None if matrix is None else np.asarray(matrix, dtype=np.float64).reshape(3, 3)
        if to_instrument is not None:
            inverse = np.linalg.inv(to_instrument)
            mapped = np.column_stack([pixels, np.ones(len(pixels))]) @ inverse.T
            pixels = mapped[:, :2] / mapped[:, 2:]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, np.linalg.LinAlgError) as error:
        raise Refusal(
            f"{raw.name}: a Loupe alignment whose spots lack row, col, imageX or imageY, or whose transform cannot be"
            f" inverted ({error!r}); save the alignment in Loupe again"
        ) from error
    table = pd.DataFrame(
        {
            "array_row": places[:, 0],
            "array_col": places[:, 1],
            "in_tissue": np.array([int(bool(spot.get("tissue"))) for spot in oligo], dtype=np.int64),
            "y_px": pixels[:, 1],
            "x_px": pixels[:, 0],
        }
    )
    refuse_twins(raw.name, table)
    return Loupe(
        raw.name,
        table.sort_values(["array_row", "array_col"], ignore_index=True),
        str(content.get("serialNumber") or ""),
        str(content.get("area") or ""),
        to_instrument is not None,
        to_instrument,
    )
