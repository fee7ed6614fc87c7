"""Files beside the counts of a simulated Visium sample: positions, scale factors, Loupe alignment, barcode list."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spotweave.simulate.count_files import put
from spotweave.simulate.visium import Truth
from spotweave.visium.array import SOFTWARE_DOT_UM, SOFTWARE_SPOT_UM, capture_area
from spotweave.visium.spacing import SPOT_DIAMETER_UM

HEADER = ("barcode", "in_tissue", "array_row", "array_col", "pxl_row_in_fullres", "pxl_col_in_fullres")
LIST_OF = {"6.5 mm": "visium-v1", "11 mm": "visium-v5"}


def position_rows(truth: Truth, spots: NDArray[np.intp], before: str = "", after: str = "-1") -> list[list[str]]:
    """Rows of tissue_positions for some spots."""
    numbers = np.column_stack([truth.in_tissue, truth.array, truth.pixels])[spots].tolist()
    return [
        [f"{before}{truth.barcodes[spot]}{after}", *map(str, row)]
        for spot, row in zip(spots.tolist(), numbers, strict=True)
    ]


def write_positions(
    path: Path, rows: Sequence[Sequence[str]], header: Sequence[str] | None = None, mark: str = ","
) -> Path:
    """A table of positions, with or without a header."""
    lines = ([header] if header is not None else []) + list(rows)
    return put(path, "".join(mark.join(line) + "\n" for line in lines).encode())


def write_scalefactors(path: Path, truth: Truth, **others: float) -> Path:
    """`scalefactors_json.json`; the spot's diameter is the software's 65 or 60 um, not the 55 um of the print."""
    content = {
        "spot_diameter_fullres": SOFTWARE_SPOT_UM[truth.capture_area] / truth.pixel_size_um,
        "tissue_hires_scalef": 0.15,
        "fiducial_diameter_fullres": SOFTWARE_DOT_UM / truth.pixel_size_um,
        "tissue_lowres_scalef": 0.045,
        **others,
    }
    return put(path, json.dumps(content).encode())


def write_loupe(
    path: Path, truth: Truth, *, transform: NDArray[np.float64] | None = None, serial_number: str = "V10A13-001"
) -> Path:
    """A Loupe alignment JSON; with `transform` (3, 3), H&E px to px of the CytAssist picture, it is of CytAssist."""
    xy = truth.pixels[:, ::-1].astype(np.float64)
    if transform is not None:
        mapped = np.column_stack([xy, np.ones(len(xy))]) @ transform.T
        xy = mapped[:, :2] / mapped[:, 2:]
    um = capture_area(truth.capture_area).spots_um(truth.array)
    oligo: list[dict[str, Any]] = []
    for spot, (row, col) in enumerate(truth.array.tolist()):
        entry = {"x": float(um[spot, 0]), "y": float(um[spot, 1]), "row": row, "col": col, "dia": SPOT_DIAMETER_UM}
        entry |= {"imageX": float(xy[spot, 0]), "imageY": float(xy[spot, 1])}
        oligo.append(entry | ({"tissue": True} if truth.in_tissue[spot] else {}))
    content: dict[str, Any] = {"oligo": oligo, "fiducial": [], "serialNumber": serial_number, "area": "A1"}
    if transform is not None:
        content["cytAssistInfo"] = {"transformImages": transform.tolist()}
    return put(path, json.dumps(content).encode())


def write_barcode_list(folder: Path, truth: Truth, name: str | None = None) -> Path:
    """A list as Space Ranger has them: barcode, column, row, from 1, in the order of the barcodes, without header."""
    folder.mkdir(exist_ok=True)
    rows = zip(truth.barcodes, truth.array.tolist(), strict=True)
    lines = sorted(f"{barcode}\t{col + 1}\t{row + 1}\n" for barcode, (row, col) in rows)
    return put(folder / f"{name or LIST_OF[truth.capture_area]}_coordinates.txt", "".join(lines).encode())
