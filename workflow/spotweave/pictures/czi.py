"""Zeiss' CZI, through aicspylibczi where that is installed: region by region, so that memory holds a few."""

from __future__ import annotations

import importlib.util
import re
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spotweave.errors import Refusal
from spotweave.pictures.virtual_tiff import TileDamaged, Tiles

MARK = b"ZISRAWFILE"
TILE_PX = 1024
LEVELS = (1, 2, 4, 8, 16, 32)
DAMAGE = (RuntimeError, ValueError, LookupError, TypeError, OSError)


@dataclass(frozen=True)
class CziSlide:
    """Its picture in full size and reduced; um a px as the file says, None where it does not."""

    levels: tuple[Tiles, ...]
    pixel_size_um: float | None


def open_czi(path: Path) -> CziSlide:
    """Open the mosaic of a CZI of three 8-bit colours.

    Raises
    ------
    Refusal
        The reader is not installed, cannot read the file, or it holds something other than one H&E picture.
    """
    if importlib.util.find_spec("aicspylibczi") is None:
        raise Refusal(
            f"{path.name}: a CZI, which this installation does not read; pip install aicspylibczi (GPL-3.0), or convert"
            " it to TIFF"
        )
    from aicspylibczi import CziFile

    try:
        file = CziFile(path)
        kinds = set(file.pixel_type.split(",")) if isinstance(file.pixel_type, str) else {str(file.pixel_type)}
        sizes = dict(file.get_dims_shape()[0])
        box = file.get_mosaic_bounding_box() if file.is_mosaic() else file.get_scene_bounding_box()
        meta = file.meta
    except DAMAGE as error:
        raise _refused(path, error) from error
    if kinds != {"bgr24"}:
        raise Refusal(f"{path.name}: a CZI of px of type {', '.join(sorted(kinds))}; an H&E picture has bgr24")
    several = {axis: high - low for axis, (low, high) in sizes.items() if axis in "SZTCVBHIR" and high - low > 1}
    if several:
        said = ", ".join(f"{axis} {count}" for axis, count in several.items())
        raise Refusal(f"{path.name}: a CZI of several pictures ({said}); save the H&E's alone")
    element = meta.find(".//Scaling/Items/Distance[@Id='X']/Value") if meta is not None else None
    said_m = "" if element is None or element.text is None else element.text.strip()
    return CziSlide(
        levels=tuple(_level(path, file, (box.x, box.y, box.w, box.h), factor) for factor in LEVELS),
        pixel_size_um=float(said_m) * 1e6 if re.fullmatch(r"[0-9.]+([eE][-+]?\d+)?", said_m) else None,
    )


def _refused(path: Path, error: Exception) -> Refusal:
    said = " ".join(str(error).split())[:200]
    return Refusal(f"{path.name}: the picture cannot be decoded (libCZI: {said}); fetch it again or convert it to TIFF")


def _level(path: Path, file: object, box: tuple[int, int, int, int], factor: int) -> Tiles:
    left, top, full_width, full_height = box
    width, height = max(1, full_width // factor), max(1, full_height // factor)
    one_at_a_time = threading.Lock()

    def decode(column: int, row: int) -> NDArray:
        side = TILE_PX * factor
        x, y = column * side, row * side
        region = (left + x, top + y, min(side, width * factor - x), min(side, height * factor - y))
        try:
            with one_at_a_time:
                read = file.read_mosaic(region, scale_factor=1 / factor, C=0, background_color=(1.0, 1.0, 1.0))  # type: ignore[attr-defined]
        except DAMAGE as error:
            raise TileDamaged(f"tile {column}, {row}: {' '.join(str(error).split())[:120]}") from error
        tile = np.full((TILE_PX, TILE_PX, 3), 255, np.uint8)
        found = np.asarray(read).reshape(read.shape[-3:])[:TILE_PX, :TILE_PX, ::-1]
        tile[: found.shape[0], : found.shape[1]] = found
        return tile

    return Tiles(path, width, height, 3, np.dtype(np.uint8), TILE_PX, TILE_PX, is_rgb=True, decode=decode)
