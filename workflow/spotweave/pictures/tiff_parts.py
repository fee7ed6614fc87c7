"""Whether a TIFF holds the pixels its header announces: decoders read the strips or tiles they need and no others."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import imagecodecs
import tifffile

from spotweave.errors import Refusal

STRIP_OFFSETS, STRIP_BYTES, TILE_OFFSETS, TILE_BYTES = 273, 279, 324, 325
WIDTH, HEIGHT, TILE_WIDTH, TILE_HEIGHT, ROWS_A_STRIP, DEPTH = 256, 257, 322, 323, 278, 32997
BITS, COMPRESSION, FILL_ORDER, SAMPLES, PLANES = 258, 259, 266, 277, 284
NONE, LZW, PACKBITS, DEFLATE, JPEG = (1,), (5,), (32773,), (8, 32946), (7,)
JPEG_HEAD_BYTES = 64 << 10
JPEG_FRAMES = {0xC0, 0xC1, 0xC2}
SEPARATE = 2  # planes: every sample has strips or tiles of its own
PADDING = 4096  # some writers begin every strip that is not packed at a sector of the disk
PACKBITS_MAX = 64  # to 1
AT_ONCE = 1 << 20
UNPACKED_MAX = 64 << 20  # of codecs that do not stream
DAMAGE = (
    tifffile.TiffFileError,
    imagecodecs.LzwError,
    imagecodecs.PackbitsError,
    struct.error,
    ValueError,
    LookupError,
    OSError,
    TypeError,
    ArithmeticError,
)


@dataclass(frozen=True)
class _Parts:
    """Strips or tiles of a page: how many are needed and filed, bytes of a row and of the whole first one."""

    what: str
    needed: int
    filed: int
    width: int
    row_bytes: int
    first_bytes: int
    first_at: int
    first_packed: int
    compression: int


def check_tiff_parts(path: Path, number: int, size_px: tuple[int, int]) -> None:
    """Hold the strips or tiles of one page of a TIFF against its header; any other file passes.

    More of them than width, height and rows of a strip need mean that one of these is damaged, and so do more rows in
    the first one than it should have: filed as they are, or packed by Deflate, LZW or PackBits. In pictures of several
    strips the last may be filled up to a whole one, as some writers do, so it is not looked at. JPEG within TIFF has a
    size of its own, which the decoder compares where it is larger; a narrower one is told here. Too few, and all that
    cannot be read, are left to the decoder.

    Parameters
    ----------
    path
        The file.
    number
        Of the page, from 0.
    size_px
        Width and height that the decoder announces; a page of another size is not the one it shows, and passes.

    Raises
    ------
    Refusal
        There are more strips, tiles or rows than the header needs, or JPEG of fewer columns.
    """
    try:
        with open(path, "rb") as file, tifffile.TiffFile(file, name=path.name) as tiff:
            parts = _parts(tiff.pages[number].aspage().tags, size_px)
            found = None if parts is None else _first_found(file, parts)
            columns = None if parts is None else _jpeg_columns(file, parts)
    except DAMAGE:
        return
    if parts is None:
        return
    if columns is not None and columns < parts.width:
        raise Refusal(
            f"{path.name}: {size_px[0]} x {size_px[1]} px by its header, and its {parts.what} have {columns} px a row;"
            " the header is damaged, download it again",
            measured=columns,
            threshold=parts.width,
        )
    announced = f"{path.name}: {size_px[0]} x {size_px[1]} px by its header, and it holds more than that"
    todo = "; the header is damaged, download it again"
    if parts.filed > parts.needed:
        raise Refusal(
            f"{announced} ({parts.filed} {parts.what} where {parts.needed} are needed){todo}",
            measured=parts.filed,
            threshold=parts.needed,
        )
    more = 0 if found is None else found - parts.first_bytes
    is_padding = parts.compression in NONE and more % parts.row_bytes and more <= PADDING
    if more >= parts.row_bytes and not is_padding:
        raise Refusal(
            f"{announced} (whole rows more in the first of its {parts.what}){todo}",
            measured=found,
            threshold=parts.first_bytes,
        )


def _parts(tags: tifffile.TiffTags, size_px: tuple[int, int]) -> _Parts | None:
    """None where the page is not that of the decoder, or says too little."""
    width, height = int(tags.valueof(WIDTH)), int(tags.valueof(HEIGHT))
    if (width, height) != size_px or int(tags.valueof(DEPTH, 1)) != 1:
        return None
    samples = int(tags.valueof(SAMPLES, 1))
    bits = tags.valueof(BITS, 1)
    each = bits if isinstance(bits, tuple) and len(bits) == samples else (_first(bits),) * samples
    is_separate = int(tags.valueof(PLANES, 1)) == SEPARATE
    is_tiled = TILE_WIDTH in tags
    if is_tiled:
        part_width, rows = int(tags.valueof(TILE_WIDTH)), int(tags.valueof(TILE_HEIGHT))
        offsets, lengths = tags[TILE_OFFSETS], tags[TILE_BYTES]
    else:
        part_width, rows = width, min(int(tags.valueof(ROWS_A_STRIP, height)), height)
        offsets, lengths = tags[STRIP_OFFSETS], tags[STRIP_BYTES]
    row_bytes = -(-part_width * int(each[0] if is_separate else sum(each)) // 8)
    if row_bytes <= 0 or rows <= 0:
        return None
    is_as_filed = int(tags.valueof(FILL_ORDER, 1)) == 1
    return _Parts(
        what="tiles" if is_tiled else "strips",
        needed=-(-height // rows) * -(-width // part_width) * (samples if is_separate else 1),
        # Where only one of both lists is longer, it is that list's length that is damaged.
        filed=min(offsets.count, lengths.count),
        width=part_width,
        row_bytes=row_bytes,
        first_bytes=rows * row_bytes,
        first_at=_first(offsets.value),
        first_packed=_first(lengths.value),
        compression=int(tags.valueof(COMPRESSION, 1)) if is_as_filed else 0,
    )


def _first(value: Any) -> int:
    return int(value[0] if isinstance(value, tuple) else value)


def _first_found(file: BinaryIO, parts: _Parts) -> int | None:
    """Bytes that the first strip or tile unpacks to, counted until they are surely too many; None where not known."""
    if parts.compression in NONE:
        return parts.first_packed
    enough = parts.first_bytes + parts.row_bytes
    file.seek(parts.first_at)
    if parts.compression in DEFLATE:
        return _inflated(file, parts.first_packed, enough)
    if parts.compression in LZW and max(enough, parts.first_packed) <= UNPACKED_MAX:
        return len(imagecodecs.lzw_decode(file.read(parts.first_packed), out=enough))
    if parts.compression in PACKBITS and PACKBITS_MAX * parts.first_packed <= UNPACKED_MAX:
        return len(imagecodecs.packbits_decode(file.read(parts.first_packed)))
    return None


def _jpeg_columns(file: BinaryIO, parts: _Parts) -> int | None:
    """Px a row of the first part by its own frame; None where it is no JPEG."""
    if parts.compression not in JPEG:
        return None
    file.seek(parts.first_at)
    head, at = file.read(min(parts.first_packed, JPEG_HEAD_BYTES)), 2
    while head.startswith(b"\xff\xd8") and at + 9 <= len(head) and head[at] == 0xFF:
        if head[at + 1] in JPEG_FRAMES:
            return int.from_bytes(head[at + 7 : at + 9], "big")
        at += 2 + int.from_bytes(head[at + 2 : at + 4], "big")
    return None


def _inflated(file: BinaryIO, left: int, enough: int) -> int | None:
    """Bytes that the next `left` of a file inflate to, counted on to `enough`; None where damage comes before that."""
    unpacker, found = zlib.decompressobj(), 0
    try:
        while found < enough and (piece := file.read(min(left, AT_ONCE))):
            left -= len(piece)
            while piece and found < enough:
                found += len(unpacker.decompress(piece, min(AT_ONCE, enough - found)))
                piece = unpacker.unconsumed_tail
    except zlib.error:
        return None
    return found
