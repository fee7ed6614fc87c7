"""Pictures that are tiles of JPEG already: the full size is kept as it was filed, byte for byte.

Encoding a decoded JPEG again costs quality for nothing. The tiles are copied into the pyramid; the smaller levels, of
which a deposit has any number or none, are made of the decoded tiles, so that each of them has been looked at.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyvips
import tifffile

from spotweave.pictures.tiff_tags import DAMAGE, JPEG

RGB, YCBCR = 2, 6
CONTIGUOUS = 1
SUBSAMPLING_DEFAULT = (2, 2)  # of TIFF's tag 530
SUBSAMPLINGS = {(1, 1), (2, 1), (2, 2), (4, 1)}  # that tifffile writes
TILE_PX_MIN, TILE_PX_MAX = 128, 1024
PX_PER_CM_TIMES_UM = 10_000.0


@dataclass(frozen=True)
class EncodedLevel:
    """A page's tiles as filed: where they lie in which file, and what a decoder must know of them."""

    path: Path
    width_px: int
    height_px: int
    tile_px: tuple[int, int]
    photometric: int
    subsampling: tuple[int, int]
    tables: bytes | None
    offsets: tuple[int, ...]
    lengths: tuple[int, ...]

    def tiles(self) -> Iterator[bytes]:
        with self.path.open("rb") as file:
            for offset, length in zip(self.offsets, self.lengths, strict=True):
                yield os.pread(file.fileno(), length, offset)


def encoded_level(path: Path, number: int) -> EncodedLevel | None:
    """The tiles of a page of 8-bit RGB or YCbCr JPEG, of a side that readers of slides take; None for any other page.

    Raises nothing: a page that cannot be read here is for the decoder to refuse.
    """
    try:
        with tifffile.TiffFile(path, is_ome=False) as tiff:
            return _of(path, tiff.pages[number].aspage())
    except DAMAGE:
        return None


def _of(path: Path, page: tifffile.TiffPage) -> EncodedLevel | None:
    is_jpeg = page.is_tiled and int(page.compression) == JPEG and int(page.planarconfig or 1) == CONTIGUOUS
    if not is_jpeg or page.samplesperpixel != 3 or page.bitspersample != 8 or int(page.photometric) not in (RGB, YCBCR):
        return None
    tile = (int(page.tilewidth), int(page.tilelength))
    if any(side % 16 or not TILE_PX_MIN <= side <= TILE_PX_MAX for side in tile):
        return None
    if min(page.imagewidth, page.imagelength) < 2:  # has no half
        return None
    needed = -(-page.imagewidth // tile[0]) * -(-page.imagelength // tile[1])
    # Scanners leave out the tiles of empty glass: those have no bytes to copy.
    if len(page.dataoffsets) != needed or len(page.databytecounts) != needed or not all(page.databytecounts):
        return None
    sampling = page.tags.valueof(530, SUBSAMPLING_DEFAULT) if int(page.photometric) == YCBCR else (1, 1)
    if sampling not in SUBSAMPLINGS or any(side % (8 * max(sampling)) for side in tile):
        return None
    return EncodedLevel(
        path=path,
        width_px=int(page.imagewidth),
        height_px=int(page.imagelength),
        tile_px=tile,
        photometric=int(page.photometric),
        subsampling=sampling,
        tables=page.jpegtables,
        offsets=tuple(page.dataoffsets),
        lengths=tuple(page.databytecounts),
    )


def write_passed_through(
    full: EncodedLevel, decoded: pyvips.Image, target: Path, *, pixel_size_um: float, jpeg_quality: int
) -> None:
    """Write a pyramidal BigTIFF whose first level has the tiles as filed, the others halves of each other.

    Parameters
    ----------
    full, decoded
        The tiles, and (H, W) px, 3 bands, uchar, that they decode to, streaming once.
    target
        The slide (.tif); beside it lies a file of the smaller levels for the time.

    Raises
    ------
    pyvips.Error
        A tile cannot be decoded.
    """
    smaller = target.with_name(f"{target.name}.levels")
    try:
        levels = [full]
        if max(full.width_px / full.tile_px[0], full.height_px / full.tile_px[1]) > 1:
            _write_smaller(decoded, smaller, full.tile_px, jpeg_quality)
            levels += _all_levels(smaller)
        else:
            decoded.avg()
        with tifffile.TiffWriter(target, bigtiff=True) as file:
            for level in levels:
                _write_level(file, level, pixel_size_um * full.width_px / level.width_px, is_reduced=level is not full)
    finally:
        smaller.unlink(missing_ok=True)


def _write_smaller(decoded: pyvips.Image, target: Path, tile_px: tuple[int, int], jpeg_quality: int) -> None:
    even = decoded.crop(0, 0, decoded.width // 2 * 2, decoded.height // 2 * 2)
    even.shrink(2, 2).tiffsave(
        str(target),
        tile=True,
        tile_width=tile_px[0],
        tile_height=tile_px[1],
        pyramid=True,
        depth="onetile",
        compression="jpeg",
        Q=jpeg_quality,
        bigtiff=True,
        keep="none",
    )


def _all_levels(path: Path) -> list[EncodedLevel]:
    with tifffile.TiffFile(path, is_ome=False) as tiff:
        found = [_of(path, page.aspage()) for page in tiff.pages]
    assert all(level is not None for level in found), "what libvips has just written"
    return [level for level in found if level is not None]


def _write_level(file: tifffile.TiffWriter, level: EncodedLevel, pixel_size_um: float, *, is_reduced: bool) -> None:
    per_cm = PX_PER_CM_TIMES_UM / pixel_size_um
    file.write(
        level.tiles(),
        shape=(level.height_px, level.width_px, 3),
        dtype="uint8",
        tile=(level.tile_px[1], level.tile_px[0]),
        photometric=level.photometric,
        compression=JPEG,
        # What tifffile would call any JPEG: the tag is that of the tiles as they are.
        compressionargs={"outcolorspace": level.photometric},
        subsampling=level.subsampling,
        jpegtables=level.tables,
        subfiletype=1 if is_reduced else 0,
        resolution=(per_cm, per_cm),
        resolutionunit="CENTIMETER",
        metadata=None,
        software=False,
    )
