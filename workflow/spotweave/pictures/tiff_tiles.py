"""Pages of a TIFF that libvips cannot decode, tile by tile: JPEG 2000, Zstandard, separate planes in tiles."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from spotweave.errors import Refusal
from spotweave.pictures.tiff_tags import BLACK_IS_ZERO, DAMAGE, JPEG2000_KINDS, NONE, Tags
from spotweave.pictures.virtual_tiff import TileDamaged, Tiles

TILE_BYTES_MAX = 128 << 20
ROWS_BYTES = 8 << 20  # of strips that are not packed, which are read in parts
SIZES_OF_CODESTREAM = b"\xff\x4f\xff\x51"


def tiles_of(path: Path, tags: Tags) -> Tiles:
    """The tiles or strips of a page, decoded by imagecodecs.

    Raises
    ------
    Refusal
        A tile is so large that memory would not hold a few, or the page's own tags are damaged.
    """
    width, height = tags.tile_px or (tags.width_px, min(tags.rows_a_strip, tags.height_px))
    are_rows = tags.tile_px is None and tags.compression == NONE
    if are_rows:
        height = min(height, max(1, ROWS_BYTES // (width * tags.samples * tags.bits // 8)))
    tile_bytes = width * height * tags.samples * tags.bits // 8
    if tile_bytes > TILE_BYTES_MAX:
        what = "tiles" if tags.tile_px else "strips"
        raise Refusal(
            f"{path.name}: {what} of {width:,} x {height:,} px packed by {tags.compression_name}, which are decoded as"
            " a whole; save it in tiles of 512 px",
            measured=tile_bytes,
            threshold=TILE_BYTES_MAX,
        )
    try:
        decoder = _Rows(path, tags, height) if are_rows else _Decoder(path, tags, width, height)
    except DAMAGE as error:
        said = " ".join(str(error).split())[:200]
        raise Refusal(f"{path.name}: the picture cannot be decoded ({said}); fetch it again") from error
    return Tiles(
        path=path,
        width_px=tags.width_px,
        height_px=tags.height_px,
        bands=tags.samples,
        # libvips reads no TIFF of 64 bits.
        dtype=np.dtype(f"{tags.kind}{min(tags.bits, 32) // 8}"),
        tile_width_px=width,
        tile_height_px=height,
        is_rgb=tags.samples >= 3 and tags.photometric > BLACK_IS_ZERO,
        decode=decoder.decode,
    )


class _Decoder:
    """The page's lists of offsets, and its tiles read from an open file at their place."""

    def __init__(self, path: Path, tags: Tags, width: int, height: int) -> None:
        self.tags, self.shape = tags, (height, width)
        self.file = path.open("rb")  # as long as the picture is
        with tifffile.TiffFile(path, is_ome=False) as tiff:
            page = _page(tiff, tags)
            self.offsets, self.lengths = page.dataoffsets, page.databytecounts
            self.tables = page.jpegtables
            self.decode_part = page.decode
        self.columns = -(-tags.width_px // width)
        self.parts = self.columns * -(-tags.height_px // height)

    def decode(self, column: int, row: int) -> NDArray:
        """(tile height, tile width, bands); raises `TileDamaged`."""
        number = row * self.columns + column
        if not self.tags.is_separate or self.tags.samples == 1:
            return self._part(number, column, row)
        planes = [self._part(number + plane * self.parts, column, row) for plane in range(self.tags.samples)]
        return np.concatenate(planes, axis=-1)

    def _part(self, index: int, column: int, row: int) -> NDArray:
        what = f"{'tile' if self.tags.tile_px else 'strip'} {column}, {row} of page {self.tags.number + 1}"
        try:
            offset, length = self.offsets[index], self.lengths[index]
            packed = os.pread(self.file.fileno(), length, offset) if length else b""
            if not packed or len(packed) < length:
                raise TileDamaged(f"{what} is not in the file")
            if self.tags.compression in JPEG2000_KINDS:
                self._check_codestream(packed, what)
            kwargs = {"jpegtables": self.tables} if self.tables else {}
            data, _, shape = self.decode_part(packed, index, _fullsize=True, **kwargs)
            if data is None or shape[:1] != (1,):
                raise TileDamaged(f"{what} is not in the file")
            part: NDArray = data.reshape(shape[1:])
            with np.errstate(over="ignore"):  # what is too large becomes infinite, which is refused
                return part.astype(np.float32) if self.tags.bits > 32 else part
        except DAMAGE as error:
            raise TileDamaged(f"{what}: {' '.join(str(error).split())[:120]}") from error

    def _check_codestream(self, packed: bytes, what: str) -> None:
        """No codestream of a larger picture than the tile: its header alone decides how much memory is taken."""
        start = packed.find(SIZES_OF_CODESTREAM, 0, 1024)
        x1, y1, x0, y0 = (int.from_bytes(packed[start + at : start + at + 4], "big") for at in (8, 12, 16, 20))
        if start < 0 or x1 - x0 > self.shape[1] or y1 - y0 > self.shape[0]:
            raise TileDamaged(f"{what} holds no codestream of its size")


class _Rows:
    """Strips that are not packed, of any size: rows are read where they lie."""

    def __init__(self, path: Path, tags: Tags, height: int) -> None:
        self.tags, self.height = tags, height
        self.file = path.open("rb")  # as long as the picture is
        with tifffile.TiffFile(path, is_ome=False) as tiff:
            page = _page(tiff, tags)
            self.offsets, self.lengths = page.dataoffsets, page.databytecounts
            self.dtype = np.dtype(f"{tiff.byteorder}{tags.kind}{tags.bits // 8}")
        self.planes = tags.samples if tags.is_separate else 1
        self.strips = -(-tags.height_px // tags.rows_a_strip)

    def decode(self, _: int, row: int) -> NDArray:
        """(height, picture's width, bands); raises `TileDamaged`."""
        first = row * self.height
        last = min(first + self.height, self.tags.height_px)
        planes = [self._rows(plane, first, last) for plane in range(self.planes)]
        bands = np.concatenate(planes, axis=-1).astype(f"{self.tags.kind}{min(self.tags.bits, 32) // 8}")
        return np.pad(bands, ((0, self.height - (last - first)), (0, 0), (0, 0)))

    def _rows(self, plane: int, first: int, last: int) -> NDArray:
        samples = self.tags.samples // self.planes
        row_bytes = self.tags.width_px * samples * self.dtype.itemsize
        read, at = b"", first
        while at < last:
            strip, above = divmod(at, self.tags.rows_a_strip)
            count = min(last - at, self.tags.rows_a_strip - above)
            number = plane * self.strips + strip
            if number >= len(self.offsets) or (above + count) * row_bytes > self.lengths[number]:
                break
            read += os.pread(self.file.fileno(), count * row_bytes, self.offsets[number] + above * row_bytes)
            at += count
        if len(read) != (last - first) * row_bytes:
            raise TileDamaged(f"rows {first} to {last} of page {self.tags.number + 1} are not in the file")
        return np.frombuffer(read, self.dtype).reshape(last - first, self.tags.width_px, samples)


def _page(tiff: tifffile.TiffFile, tags: Tags) -> tifffile.TiffPage:
    page = tiff.pages[tags.number].aspage()
    return page.pages[tags.subifd].aspage() if tags.subifd is not None and page.pages is not None else page
