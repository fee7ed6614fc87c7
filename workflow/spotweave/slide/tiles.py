"""The tiles of one level of a pyramidal TIFF, each decoded once and kept while it may be asked for again."""

from __future__ import annotations

import math
import os
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

from spotweave.pictures.tiff_tags import JPEG

RGB, YCBCR = 2, 6
# Rows of tiles that are kept decoded: blocks that reach over no more are decoded once.
ROWS_KEPT = 2

Pixels = NDArray[np.uint8]
Decode = Callable[[bytes, int, Pixels], Any]


class Tiles:
    """The tiles of one page, by their column and row.

    Memory of tiles that are no longer kept is decoded into again: fresh pages cost a third of decoding itself.

    Parameters
    ----------
    path
        The TIFF.
    page
        A page of RGB, 8 bit, of tiles or strips.

    Attributes
    ----------
    width_px, height_px
        Of the level.
    tile_px
        Width and height of its tiles.
    """

    def __init__(self, path: Path, page: tifffile.TiffPage) -> None:
        self.path, self.number = path, page.index
        self.width_px, self.height_px = int(page.imagewidth), int(page.imagelength)
        self.tile_px = (int(page.chunks[1]), int(page.chunks[0]))
        self.across = math.ceil(self.width_px / self.tile_px[0])
        self.places = list(zip(page.dataoffsets, page.databytecounts, strict=True))
        self.decode = _decoder(page)
        self.kept: OrderedDict[int, Pixels] = OrderedDict()
        self.kept_max = 0
        self.keep(1, (ROWS_KEPT - 1) * self.tile_px[1])

    def keep(self, width_px: int, height_px: int) -> None:
        """Keep as many tiles as blocks of this size need, read by row of tiles and from the left."""
        columns, rows = (
            math.ceil(side / tile) + 1 for side, tile in zip((width_px, height_px), self.tile_px, strict=True)
        )
        self.kept_max = max(self.kept_max, rows * (self.across + columns))

    def tile(self, file: int, column: int, row: int) -> Pixels:
        """(tile height, tile width, 3) uint8; overwritten once `kept_max` others have been asked for.

        Parameters
        ----------
        file
            Descriptor of the open TIFF.

        Raises
        ------
        ValueError
            If the tile cannot be decoded.
        """
        number = row * self.across + column
        found = self.kept.pop(number, None)
        if found is None:
            found = self._memory()
            offset, length = self.places[number]
            try:
                self.decode(os.pread(file, length, offset), number, found)
            except (RuntimeError, ValueError, TypeError, IndexError) as error:
                where = f"tile {column}, {row} of page {self.number + 1}"
                raise ValueError(f"{self.path}: {where} cannot be decoded ({error}); build the slide again") from error
        self.kept[number] = found
        return found

    def _memory(self) -> Pixels:
        if len(self.kept) >= self.kept_max:
            return self.kept.popitem(last=False)[1]
        return np.empty((self.tile_px[1], self.tile_px[0], 3), np.uint8)


def _decoder(page: tifffile.TiffPage) -> Decode:
    tables = page.jpegtables
    colours = {RGB: imagecodecs.JPEG8.CS.RGB, YCBCR: imagecodecs.JPEG8.CS.YCbCr}.get(int(page.photometric))
    if int(page.compression) == JPEG and page.is_tiled and colours is not None:
        return partial(_decode_jpeg, tables, colours)
    return partial(_decode_any, page.decode, tables)


def _decode_jpeg(tables: bytes | None, colours: int, packed: bytes, number: int, out: Pixels) -> None:
    imagecodecs.jpeg8_decode(packed, tables=tables, colorspace=colours, outcolorspace=imagecodecs.JPEG8.CS.RGB, out=out)


def _decode_any(decode: Callable[..., Any], tables: bytes | None, packed: bytes, number: int, out: Pixels) -> None:
    found = decode(packed, number, jpegtables=tables)[0]
    if found is None:
        raise ValueError("it holds nothing")
    out[: found.shape[1], : found.shape[2]] = found[0]
