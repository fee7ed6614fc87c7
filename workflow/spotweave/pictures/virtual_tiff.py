"""Tiles that a decoder of ours makes, shown to libvips as an uncompressed TIFF that lies nowhere.

libvips streams pictures, but takes no decoders written in Python. It does read TIFF through functions of ours: the
header of such a file is made here, and each of its tiles when it is asked for, so that memory holds a few tiles.
"""

from __future__ import annotations

import os
import struct
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyvips
from numpy.typing import NDArray

from spotweave.errors import Refusal

HEADER = struct.Struct("<2sHHHQ")
ENTRY = struct.Struct("<HHQQ")
SHORT, LONG8 = 3, 16
KEPT_TILES = 4
AHEAD_BYTES = 64 << 20
TILE_SIDE_MAX_PX = 4096
# What was wrong with a tile, by file: libvips passes on only that reading failed.
_damage: dict[str, Exception] = {}


class TileDamaged(Exception):
    """A tile that cannot be decoded; says which and why."""


@dataclass(frozen=True)
class Tiles:
    """A picture in tiles.

    Attributes
    ----------
    width_px, height_px, bands
        Of the picture.
    dtype
        Of its samples, in the machine's byte order.
    tile_width_px, tile_height_px
        Of a tile; those at the right and lower border are filled up to it.
    is_rgb
        Whether the first three bands are colours; else the first is grey.
    decode
        Column and row of a tile, from 0 -> (tile height, tile width, bands). Called by several threads at a time.
        Raises `TileDamaged`.
    """

    path: Path
    width_px: int
    height_px: int
    bands: int
    dtype: np.dtype
    tile_width_px: int
    tile_height_px: int
    is_rgb: bool
    decode: Callable[[int, int], NDArray]

    @property
    def columns(self) -> int:
        return -(-self.width_px // self.tile_width_px)

    @property
    def rows(self) -> int:
        return -(-self.height_px // self.tile_height_px)


def damage_of(path: Path) -> str | None:
    """What was wrong with a tile of this file, None where nothing was; raises what is a failure of ours."""
    error = _damage.get(str(path))
    if error is not None and not isinstance(error, TileDamaged):
        raise error
    return None if error is None else str(error)


def open_tiles(tiles: Tiles, access: str = "sequential") -> pyvips.Image:
    """(H, W) px of these tiles, which are decoded when they are needed.

    Who makes a `pyvips.Region` of the picture, or of one made of it, keeps the picture as long: the region alone does
    not keep our functions alive.

    Raises
    ------
    Refusal
        libvips does not take tiles of these sides.
    """
    sides = (tiles.tile_width_px, tiles.tile_height_px)
    if tiles.columns > 1 and (max(sides) > TILE_SIDE_MAX_PX or any(side % 16 for side in sides)):
        raise Refusal(
            f"{tiles.path.name}: tiles of {sides[0]:,} x {sides[1]:,} px, which are no multiples of 16 up to"
            f" {TILE_SIDE_MAX_PX:,}; save it in tiles of 512 px"
        )
    _damage.pop(str(tiles.path), None)
    file = _VirtualFile(tiles)
    source = pyvips.SourceCustom()
    source.on_read(file.read)
    source.on_seek(file.seek)
    # This way of opening keeps the source alive with every picture made of it.
    return pyvips.Image.new_from_source(source, "", access=access, fail_on="warning")


class _VirtualFile:
    """What libvips reads: a header, then the tiles one behind the other, all of one size."""

    def __init__(self, tiles: Tiles) -> None:
        self.tiles = tiles
        self.part_width_px = tiles.width_px if tiles.columns == 1 else tiles.tile_width_px
        self.tile_bytes = self.part_width_px * tiles.tile_height_px * tiles.bands * tiles.dtype.itemsize
        self.count = tiles.columns * tiles.rows
        self.header = _header(tiles, self.tile_bytes, self.count)
        self.size = len(self.header) + self.count * self.tile_bytes
        self.at = 0
        self.last = -2
        self.decoded: OrderedDict[int, Future[bytes]] = OrderedDict()
        threads = max(1, int(os.environ.get("VIPS_CONCURRENCY") or os.cpu_count() or 1))
        self.ahead = min(2 * threads, AHEAD_BYTES // self.tile_bytes) if threads > 1 else 0
        self.kept = max(1, min(KEPT_TILES, AHEAD_BYTES // self.tile_bytes))
        self.pool = ThreadPoolExecutor(threads)

    def seek(self, offset: int, whence: int) -> int:
        self.at = offset + {0: 0, 1: self.at, 2: self.size}[whence]
        return self.at

    def read(self, size: int) -> bytes | memoryview | None:
        if self.at < len(self.header):
            piece: bytes | memoryview = self.header[self.at : self.at + size]
        elif self.at >= self.size:
            return None
        else:
            number, start = divmod(self.at - len(self.header), self.tile_bytes)
            try:
                piece = memoryview(self._tile(number))[start : start + size]
            except Exception as error:  # libvips calls this and would swallow it: `damage_of` does not
                _damage[str(self.tiles.path)] = error
                return None
        self.at += len(piece)
        return piece

    def _tile(self, number: int) -> bytes:
        # Whoever reads on is given the next tiles by threads: decoders let others run.
        ahead = self.ahead if number in (self.last, self.last + 1) else 0
        self.last = number
        for wanted in range(number, min(number + ahead, self.count - 1) + 1):
            if wanted not in self.decoded:
                self.decoded[wanted] = self.pool.submit(self._decode, wanted)
        tile = self.decoded[number]
        self.decoded.move_to_end(number)
        while len(self.decoded) > self.kept + ahead:
            self.decoded.popitem(last=False)
        return tile.result()

    def _decode(self, number: int) -> bytes:
        row, column = divmod(number, self.tiles.columns)
        tile = self.tiles.decode(column, row)
        shape = (self.tiles.tile_height_px, self.tiles.tile_width_px, self.tiles.bands)
        if tile.shape != shape or tile.dtype != self.tiles.dtype:
            raise TileDamaged(f"tile {column}, {row} has other sizes than the rest")
        return tile[:, : self.part_width_px].tobytes()


def _header(tiles: Tiles, tile_bytes: int, count: int) -> bytes:
    """A BigTIFF directory, its lists behind it, and the tiles behind these."""
    bits, kind = 8 * tiles.dtype.itemsize, {"u": 1, "i": 2, "f": 3}[tiles.dtype.kind]
    colours = 3 if tiles.is_rgb else 1
    values: list[tuple[int, int, list[int]]] = [
        (256, LONG8, [tiles.width_px]),
        (257, LONG8, [tiles.height_px]),
        (258, SHORT, [bits] * tiles.bands),
        (259, SHORT, [1]),
        (262, SHORT, [2 if tiles.is_rgb else 1]),
        (277, SHORT, [tiles.bands]),
        (284, SHORT, [1]),
        (339, SHORT, [kind] * tiles.bands),
    ]
    lengths_of_all, places = [tile_bytes] * count, 273
    if tiles.columns == 1:  # libvips takes no large tiles, but strips of any size
        values += [(273, LONG8, []), (278, LONG8, [tiles.tile_height_px]), (279, LONG8, lengths_of_all)]
    else:
        places = 324
        values += [(322, LONG8, [tiles.tile_width_px]), (323, LONG8, [tiles.tile_height_px])]
        values += [(324, LONG8, []), (325, LONG8, lengths_of_all)]
    if tiles.bands > colours:
        values.append((338, SHORT, [2] * (tiles.bands - colours)))
    values.sort(key=lambda entry: entry[0])
    lists_at = HEADER.size + 8 + len(values) * ENTRY.size + 8
    # As long as the lists are, whatever the places in them.
    values = [(tag, kind, lengths_of_all if tag == places else numbers) for tag, kind, numbers in values]
    packed_bytes = [len(numbers) * (2 if kind == SHORT else 8) for _, kind, numbers in values]
    start = lists_at + sum(-(-length // 8) * 8 for length in packed_bytes if length > 8)
    offsets = list(range(start, start + count * tile_bytes, tile_bytes))
    values = [(tag, kind, offsets if tag == places else numbers) for tag, kind, numbers in values]
    directory, lists = b"", b""
    for tag, kind, numbers in values:
        packed = np.array(numbers, "<u2" if kind == SHORT else "<u8").tobytes()
        if len(packed) > 8:
            place = lists_at + len(lists)
            lists += packed + bytes(-len(packed) % 8)
        else:
            place = int.from_bytes(packed.ljust(8, b"\0"), "little")
        directory += ENTRY.pack(tag, kind, len(numbers), place)
    return HEADER.pack(b"II", 43, 8, 0, HEADER.size) + struct.pack("<Q", len(values)) + directory + bytes(8) + lists
