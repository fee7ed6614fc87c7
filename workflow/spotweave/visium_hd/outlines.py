"""Cells as Space Ranger 4 outlines them: `cell_segmentations.geojson`, in px of the full-resolution picture.

The file has hundreds of megabytes and no lines, so it is read feature by feature and measured block by block.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, TextIO

import numpy as np
import pandas as pd
import shapely
from tqdm import tqdm

from spotweave.deposits.opening import parsing, unpacked
from spotweave.deposits.raw import RawFile
from spotweave.errors import Refusal
from spotweave.visium_hd.names import cell_name

LONGEST_FEATURE = 1 << 24  # characters of one outline
FEATURES = re.compile(r'"features"\s*:\s*\[')
BETWEEN = re.compile(r"[\s,]*")
CHARACTERS_AT_ONCE = 1 << 22
FEATURES_AT_ONCE = 4096
EMPTY = {"type": "Polygon", "coordinates": []}
ADVICE = "for cells, the spots are Space Ranger's cell_segmentations.geojson"


@dataclass(frozen=True)
class Outlines:
    """Cells of one file, sorted by name.

    Attributes
    ----------
    name
        The file's, for messages.
    table
        `spot_id` (str, such as `cellid_000000001-1`), `x_px`, `y_px` (centroid), `area_px2` (float64).
    report
        JSON-ready: `outlines`, `outlines_empty` (without a place, left out), `outlines_invalid` (self-crossing).
    """

    name: str
    table: pd.DataFrame
    report: dict[str, Any]


def read_outlines(raw: RawFile) -> Outlines:
    """Read the outlines.

    Raises
    ------
    Refusal
        It is no GeoJSON of cells, it is cut, or a cell comes twice.
    """
    names: list[str] = []
    parts: list[np.ndarray] = []
    empty = invalid = 0
    for block in _blocks(raw):
        try:
            shapes = shapely.from_geojson([text for _, text in block])
        except shapely.errors.GEOSException as error:
            raise Refusal(f"{raw.name}: an outline is no geometry ({error}); download the file again") from error
        has_place = ~shapely.is_empty(shapes)
        shapes = shapes[has_place]
        centres = shapely.centroid(shapes)
        parts.append(np.column_stack([shapely.get_x(centres), shapely.get_y(centres), shapely.area(shapes)]))
        empty += int((~has_place).sum())
        invalid += int((~shapely.is_valid(shapes)).sum())
        names += [name for (name, _), kept in zip(block, has_place, strict=True) if kept]
    if not names:
        raise Refusal(f"{raw.name}: there is no outline in it; {ADVICE}")
    xy_area = np.concatenate(parts)
    table = pd.DataFrame({"spot_id": names, "x_px": xy_area[:, 0], "y_px": xy_area[:, 1], "area_px2": xy_area[:, 2]})
    table = table.sort_values("spot_id", kind="stable", ignore_index=True)
    twice = table["spot_id"].duplicated()
    if twice.any():
        raise Refusal(
            f"{raw.name}: {table['spot_id'][twice].iloc[0]} is outlined twice ({int(twice.sum()):,} such cells); "
            "download the file again",
            measured=int(twice.sum()),
            threshold=0,
        )
    report = {"outlines": len(table) + empty, "outlines_empty": empty, "outlines_invalid": invalid}
    return Outlines(raw.name, table, report)


def _blocks(raw: RawFile) -> Iterator[list[tuple[str, str]]]:
    """Names of cells and their geometries as text, some thousands at a time."""
    if not raw.path.stat().st_size:
        raise Refusal(f"{raw.name}: the file is empty; download it again")
    block: list[tuple[str, str]] = []
    with ExitStack() as stack, tqdm(desc=raw.name, unit=" cells", disable=None) as progress:
        stack.enter_context(parsing(raw.name))
        stream = stack.enter_context(unpacked(raw))
        for feature in _features(raw.name, io.TextIOWrapper(stream, encoding="utf-8-sig")):
            block.append((_name(raw.name, feature), json.dumps(feature.get("geometry") or EMPTY)))
            if len(block) == FEATURES_AT_ONCE:
                yield block
                progress.update(len(block))
                block = []
        if block:
            yield block


def _features(name: str, stream: TextIO) -> Iterator[Mapping[str, Any]]:
    """The features of a collection, one after the other; only a window of the text is held."""
    decode = json.JSONDecoder().raw_decode
    try:
        window = stream.read(CHARACTERS_AT_ONCE)
        start = FEATURES.search(window)
        if not start:
            raise Refusal(f"{name}: no GeoJSON with features; {ADVICE}")
        at = start.end()
        while True:
            between = BETWEEN.match(window, at)
            at = between.end() if between else at
            if window[at : at + 1] == "]":
                return
            try:
                feature, at = decode(window, at)
            except ValueError as error:
                more = stream.read(CHARACTERS_AT_ONCE)
                if len(window) - at > LONGEST_FEATURE:
                    raise Refusal(f"{name}: a feature of over {LONGEST_FEATURE:,} characters; {ADVICE}") from error
                if not more:
                    raise Refusal(f"{name}: cut or damaged GeoJSON ({error}); download it again") from error
                window, at = window[at:] + more, 0
                continue
            yield feature
    except UnicodeDecodeError as error:
        raise Refusal(f"{name}: no text, so no GeoJSON; {ADVICE}") from error
    except RecursionError as error:
        raise Refusal(f"{name}: JSON nested deeper than any such file is; {ADVICE}") from error


def _name(file: str, feature: Any) -> str:
    cell = None
    if isinstance(feature, Mapping):
        properties = feature.get("properties")
        cell = properties.get("cell_id") if isinstance(properties, Mapping) else None
        cell = feature.get("id") if cell is None else cell
    if isinstance(cell, bool) or not isinstance(cell, int | str) or cell == "":
        raise Refusal(f"{file}: a feature without properties.cell_id; {ADVICE}")
    return cell_name(cell)
