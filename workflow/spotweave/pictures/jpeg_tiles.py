"""Whether every tile of JPEG in a TIFF is whole: libvips and libtiff go on over damage in them without a word.

JPEG has no checksum, but a damaged tile mostly ends too early or too late. So the tiles are put one below the other
into one JPEG, with a restart marker behind each: where a decoder does not meet the next marker when a tile's blocks are
done, it warns. Tiles are decoded once, as fast as the decoder can.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pyvips
import tifffile

from spotweave.errors import Refusal
from spotweave.pictures.tiff_tags import DAMAGE, JPEG

HEIGHT_MAX_PX = 32_768  # a JPEG may have 65,500
BEGIN, END, SCAN, RESTART_EVERY = b"\xff\xd8", b"\xff\xd9", 0xDA, 0xDD
BASELINE = (0xC0, 0xC1)  # frames of other kinds have more than one scan, or other codes
OTHER_FRAMES = {0xC2, 0xC3, *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0)}


class _Damaged(Exception):
    """Of one tile."""


class _NotOfThisKind(Exception):
    """A JPEG that cannot be put below another: progressive, with restarts of its own, or of another size."""


@dataclass(frozen=True)
class _Tile:
    """A tile's segments up to its scan, where in them the frame's height stands, its blocks, and its blocks' number."""

    number: int
    head: bytes
    height_at: int
    blocks: bytes
    restart_every: int


def jpeg_tiles_are_whole(path: Path, number: int) -> bool:
    """Look at every tile of a page.

    Returns
    -------
    False where it cannot be told: the page has no tiles of JPEG, or they are of a kind that this does not know.

    Raises
    ------
    Refusal
        A tile is damaged.
    """
    try:
        with tifffile.TiffFile(path, is_ome=False) as tiff:
            page = tiff.pages[number].aspage()
            if not page.is_tiled or int(page.compression) != JPEG or page.bitspersample != 8:
                return False
            places = list(zip(page.dataoffsets, page.databytecounts, strict=True))
            tables, size_px = page.jpegtables or b"", (int(page.tilewidth), int(page.tilelength))
    except DAMAGE:
        return False
    columns = -(-int(page.imagewidth) // size_px[0])
    tiles = _read(path, places, tables, size_px)
    threads = max(1, int(os.environ.get("VIPS_CONCURRENCY") or os.cpu_count() or 1))
    try:
        with ThreadPoolExecutor(threads) as pool:
            batches = _batches(tiles, HEIGHT_MAX_PX // size_px[1])
            # A few at a time: a pool would read the whole file ahead.
            while some := list(islice(batches, 2 * threads)):
                for damaged in pool.map(lambda batch: _first_damaged(batch, size_px[1]), some):
                    if damaged is not None:
                        raise _Damaged(str(damaged))
    except _NotOfThisKind:
        return False
    except _Damaged as error:
        row, column = divmod(int(str(error)), columns)
        raise Refusal(
            f"{path.name}: the picture cannot be decoded (the JPEG of tile {column}, {row} of page {number + 1} is"
            " damaged); fetch it again"
        ) from error
    return True


def _read(path: Path, places: list[tuple[int, int]], tables: bytes, size_px: tuple[int, int]) -> Iterator[_Tile]:
    with path.open("rb") as file:
        for number, (offset, length) in enumerate(places):
            packed = os.pread(file.fileno(), length, offset)
            if not length:
                raise _NotOfThisKind
            if len(packed) < length or not packed.startswith(BEGIN):
                raise _Damaged(str(number))
            whole = tables[: -len(END)] + packed[len(BEGIN) :] if tables else packed
            yield _parsed(number, whole, size_px)


def _parsed(number: int, packed: bytes, size_px: tuple[int, int]) -> _Tile:
    at, height_at, blocks_a_tile = len(BEGIN), 0, 0
    while True:
        if at + 4 > len(packed) or packed[at] != 0xFF:
            raise _Damaged(str(number))
        kind, length = packed[at + 1], int.from_bytes(packed[at + 2 : at + 4], "big")
        if kind in OTHER_FRAMES or (kind == RESTART_EVERY and packed[at + 4 : at + 6] != b"\0\0"):
            raise _NotOfThisKind
        if kind in BASELINE:
            height_at = at + 5
            blocks_a_tile = _blocks(number, packed[at + 4 : at + 2 + length], size_px)
        at += 2 + length
        if kind == SCAN:
            break
    end = packed.find(END, at)
    if end < 0 or not blocks_a_tile:
        raise _Damaged(str(number))
    return _Tile(number, packed[:at], height_at, packed[at:end], blocks_a_tile)


def _blocks(number: int, frame: bytes, size_px: tuple[int, int]) -> int:
    """Units that the scan of a frame consists of: blocks of 8 x 8 px, as many as the sampling puts together."""
    if len(frame) < 6 or len(frame) < 6 + 3 * frame[5]:
        raise _Damaged(str(number))
    _, height, width, components = struct.unpack(">BHHB", frame[:6])
    sampling = [frame[6 + 3 * index + 1] for index in range(components)]
    if components == 1:
        sampling = [0x11]
    across = 8 * max((value >> 4 for value in sampling), default=0)
    down = 8 * max((value & 15 for value in sampling), default=0)
    if (width, height) != size_px or not across or not down or width % across or height % down:
        raise _NotOfThisKind
    return width // across * (height // down)


def _batches(tiles: Iterator[_Tile], count_max: int) -> Iterator[list[_Tile]]:
    """Neighbours of one head, so many that one below the other they make a JPEG; one place is left for the guard."""
    batch: list[_Tile] = []
    for tile in tiles:
        if batch and (tile.head != batch[0].head or len(batch) >= count_max - 1):
            yield batch
            batch = []
        batch.append(tile)
    if batch:
        yield batch


def _first_damaged(batch: list[_Tile], height_px: int) -> int | None:
    """The number of the first damaged tile, None where all are whole."""
    if _is_whole(batch, height_px):
        return None
    return next((tile.number for tile in batch if not _is_whole([tile], height_px)), batch[0].number)


def _is_whole(batch: list[_Tile], height_px: int) -> bool:
    first = batch[0]
    # libvips looks for warnings before each row, so the last tile needs one below it.
    blocks = [tile.blocks for tile in (*batch, first)]
    height = struct.pack(">H", len(blocks) * height_px)
    head = first.head[: first.height_at] + height + first.head[first.height_at + 2 :]
    scan = head.rfind(bytes([0xFF, SCAN]))
    restart = struct.pack(">BBHH", 0xFF, RESTART_EVERY, 4, first.restart_every)
    parts = [head[:scan], restart, head[scan:]]
    for index, data in enumerate(blocks):
        parts += [data, bytes([0xFF, 0xD0 + index % 8])]
    parts[-1] = END
    try:
        # At an eighth of the size every block is still read.
        pyvips.Image.jpegload_buffer(b"".join(parts), access="sequential", fail_on="warning", shrink=8).avg()
    except pyvips.Error:
        return False
    return True
