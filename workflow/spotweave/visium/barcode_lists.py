"""Space Ranger's lists of barcodes, which say where on a Visium array each barcode is: places without a positions file.

They come with 10x Genomics' software and are not ours to hand on; they are found where it is installed. Slides of
versions 1 and 2 share a map, and 3 (discontinued) and 4; version 5 is the 11 mm array.

    find() -> {"visium-v1": path, …}          matching(name, cores) -> BarcodeList
    positions_by_list(name, cores, loupe) -> Positions
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spotweave.errors import Refusal
from spotweave.matrices import barcodes
from spotweave.visium.array import NAMES, capture_area
from spotweave.visium.loupe import Loupe
from spotweave.visium.positions import Positions
from spotweave.visium.tissue import FROM_COUNTS

VARIABLE = "SPACERANGER_BARCODES"
NAME = re.compile(r"(visium-v\d+)_coordinates\.txt")
IN_SOFTWARE = ("lib/python/cellranger/barcodes", "external/cellranger/lib/python/cellranger/barcodes")
SHARE = 0.99  # of the barcodes a list must hold; tables lose or gain a barcode in editing
# Lists of slides by what their serial number starts with: V1 to V3 are placed directly, V4 and V5 by CytAssist.
OF_SLIDES = {
    **dict.fromkeys(("V1", "V2", "V3"), ("visium-v1", "visium-v2")),
    "V4": ("visium-v3", "visium-v4"),
    "V5": ("visium-v5",),
}
SAME_ARRAY_FROM = 0.5  # places that a list and the alignment share; 6.5 mm is .35 of 11 mm
HOW = (
    f"install Space Ranger (10x Genomics' download page) so that `spaceranger` is on the PATH, or set {VARIABLE} to the"
    " folder with its visium-v*_coordinates.txt"
)


@dataclass(frozen=True)
class BarcodeList:
    """One list.

    Attributes
    ----------
    name
        `visium-v1` to `visium-v5`.
    barcodes
        (N,) 16 nucleotides each.
    array
        (N, 2) int64 array_row, array_col, from 0.
    sha256
        Of the file: a list is an input that no manifest holds.
    """

    name: str
    barcodes: tuple[str, ...]
    array: NDArray[np.int64]
    sha256: str


def find() -> dict[str, Path]:
    """Name -> path of every list at hand, from the variable or else from an installed Space Ranger.

    The variable may name the folder of the lists or that of the software. Where it is set, nothing else is looked
    through: what a person has said is not replaced in silence.
    """
    if os.environ.get(VARIABLE):
        roots = [Path(os.environ[VARIABLE]).expanduser()]
    else:
        program = shutil.which("spaceranger")
        roots = list(Path(program).resolve().parents[:3]) if program is not None else []
    found: dict[str, Path] = {}
    for folder in (root / inside for root in roots for inside in ("", *IN_SOFTWARE)):
        for path in sorted(folder.glob("visium-v*_coordinates.txt")) if folder.is_dir() else []:
            match = NAME.fullmatch(path.name)
            if match:
                found.setdefault(match[1], path)
    return found


@cache
def read(name: str, path: Path) -> BarcodeList:
    """Read one list: barcode, column, row, both from 1, separated by tabs, without header.

    Raises
    ------
    Refusal
        The file is something else.
    """
    try:
        table = pd.read_csv(path, sep="\t", header=None, dtype=str, keep_default_na=False)
        array = table[[2, 1]].astype(np.int64).to_numpy() - 1
    except (ValueError, pd.errors.ParserError, KeyError) as error:
        text = " ".join(str(error).split())
        raise Refusal(f"{path.name}: no list of barcodes, columns and rows ({text}); {HOW}") from error
    if not len(array) or array.min() < 0:
        raise Refusal(f"{path.name}: no list of barcodes with columns and rows from 1; {HOW}")
    cores = barcodes.parse(table[0].tolist()).core
    return BarcodeList(name, tuple(cores), array, hashlib.sha256(path.read_bytes()).hexdigest())


def matching(
    name: str, cores: Collection[str], lists: Mapping[str, Path] | None = None, *, serial_number: str = ""
) -> BarcodeList:
    """The list that holds a table's barcodes.

    Parameters
    ----------
    name
        The table's, for messages.
    cores
        Barcodes without suffix.
    lists
        As `find` gives them.
    serial_number
        The slide's, if it is known; it decides between lists that hold the barcodes at different places.

    Raises
    ------
    Refusal
        No list is at hand, none holds the barcodes, several do and disagree, or the one that does is not whole.
    """
    lists = find() if lists is None else lists
    if not lists:
        raise Refusal(f"{name}: there is no positions file, and to do without one needs Space Ranger's lists; {_how()}")
    wanted = set(cores)
    known = {list_name: read(list_name, path) for list_name, path in sorted(lists.items())}
    shares = {list_name: len(wanted & set(one.barcodes)) / len(wanted) for list_name, one in known.items()}
    holding = [one for list_name, one in known.items() if shares[list_name] >= SHARE]
    if not holding:
        best = max(shares, key=lambda key: shares[key])
        raise Refusal(
            f"{name}: its barcodes are in none of Space Ranger's lists at hand ({', '.join(known)}; {best} has"
            f" {shares[best]:.1%}); is it Visium, and are all lists there?",
            measured=round(shares[best], 4),
            threshold=SHARE,
        )
    agreeing = _agreeing(holding, wanted) or _agreeing(_of_slide(holding, serial_number), wanted)
    if agreeing is None:
        raise Refusal(
            f"{name}: {', '.join(one.name for one in holding)} all hold its barcodes, at different places; give a"
            " positions file, or the Loupe alignment, which names the slide",
            measured=len(holding),
            threshold=1,
        )
    _refuse_broken(agreeing, lists[agreeing.name])
    return agreeing


def positions_by_list(name: str, cores: Collection[str], loupe: Loupe | None) -> Positions:
    """Positions of the whole array of a sample's barcodes (`cores`, without suffix; `name` is their file's).

    Pixels are the Loupe alignment's, or NaN: the aligner then takes them from the fiducial frame. Spots are in tissue
    as Loupe has them; without, all have 0 and `in_tissue_from` in the report is `counts`, for `tissue_by_counts`.

    Raises
    ------
    Refusal
        What `matching` refuses, or the alignment is of another array.
    """
    found = matching(name, cores, serial_number="" if loupe is None else loupe.serial_number)
    table = pd.DataFrame(
        {
            "barcode": list(found.barcodes),
            "in_tissue": np.zeros(len(found.barcodes), dtype=np.int64),
            "array_row": found.array[:, 0],
            "array_col": found.array[:, 1],
            "y_px": np.nan,
            "x_px": np.nan,
        }
    )
    report: dict[str, Any] = {
        "positions_layout": found.name,
        "positions_list_sha256": found.sha256,
        "rows_in_positions": len(table),
        "position_columns_unused": [],
        "positions_from": "barcode list",
        "in_tissue_from": FROM_COUNTS,
        "in_tissue_known": False,
    }
    if loupe is None:
        return Positions(f"{found.name} (Space Ranger's barcode list)", table, report)
    report["positions_from"] = "loupe"
    if loupe.table["in_tissue"].any():
        report |= {"in_tissue_from": "loupe", "in_tissue_known": True}
    return Positions(f"{loupe.name} and {found.name}", _with_pixels(table, loupe, found.name), report)


def _with_pixels(table: pd.DataFrame, loupe: Loupe, list_name: str) -> pd.DataFrame:
    """A list's places with pixels and tissue of the alignment; NaN and 0 where it lacks one."""
    at = ["array_row", "array_col"]
    merged = table[["barcode", *at]].merge(loupe.table, on=at, how="left")
    shared = int(merged["x_px"].notna().sum())
    share = shared / max(len(table), len(loupe.table))
    if share < SAME_ARRAY_FROM:
        raise Refusal(
            f"{loupe.name}: of its {len(loupe.table):,} places {shared:,} are among the {len(table):,} of {list_name},"
            " which the barcodes are of; is it the alignment of this slide?",
            measured=round(share, 4),
            threshold=SAME_ARRAY_FROM,
        )
    merged["in_tissue"] = merged["in_tissue"].fillna(0).astype(np.int64)
    return merged[list(table.columns)]


def _how() -> str:
    folder = os.environ.get(VARIABLE)
    return f"{VARIABLE} is {folder}, where there are none; {HOW}" if folder else HOW


def _agreeing(candidates: list[BarcodeList], wanted: Collection[str]) -> BarcodeList | None:
    """The first of lists that have the same map for the barcodes; None if they differ, or there is none."""
    return candidates[0] if len({_map(candidate, wanted) for candidate in candidates}) == 1 else None


def _of_slide(candidates: list[BarcodeList], serial_number: str) -> list[BarcodeList]:
    return [one for one in candidates if one.name in OF_SLIDES.get(serial_number[:2].upper(), ())]


def _map(one: BarcodeList, wanted: Collection[str]) -> frozenset[tuple[str, int, int]]:
    return frozenset(
        (barcode, int(row), int(col))
        for barcode, (row, col) in zip(one.barcodes, one.array, strict=True)
        if barcode in wanted
    )


def _refuse_broken(one: BarcodeList, path: Path) -> None:
    """A list must be a whole array: one cut short, or with its columns swapped, would misplace spots in silence."""
    ordered = one.array[np.lexsort((one.array[:, 1], one.array[:, 0]))]
    is_whole = any(np.array_equal(ordered, capture_area(size).places()) for size in NAMES)
    if not is_whole or len(set(one.barcodes)) < len(one.barcodes):
        sizes = ", ".join(f"{size}: {len(capture_area(size).places()):,}" for size in NAMES)
        raise Refusal(
            f"{path.name}: its {len(one.barcodes):,} barcodes do not fill an array once ({sizes} places); copy it from"
            " Space Ranger again",
            measured=len(one.barcodes),
        )
