"""Whether a TIFF file is all there, by its directories alone.

TIFF libraries are made to get out of a damaged file what they can: they end the chain of pages quietly where
it leaves the file. Here that end is the question. Read after TIFF 6.0, sections 2 and 15, and, for sub-directories,
TIFF Technical Note 1; BigTIFF has the same with 64-bit fields.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

STRIP_OFFSETS, STRIP_BYTES = 273, 279
TILE_OFFSETS, TILE_BYTES = 324, 325
SUB_DIRECTORIES = 330
FOLLOWED = (STRIP_OFFSETS, STRIP_BYTES, TILE_OFFSETS, TILE_BYTES, SUB_DIRECTORIES)
INTEGERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}  # field type -> its format


class _CutOff(Exception):
    """Something lies beyond the end of the file."""


@dataclass(frozen=True)
class _Reader:
    handle: BinaryIO
    size: int
    order: str  # of bytes, in the words of `struct`
    is_big: bool

    def unpack(self, offset: int, count: int, kind: str) -> tuple[int, ...]:
        """Read `count` integers at an offset."""
        length = count * struct.calcsize(kind)
        if offset + length > self.size:
            raise _CutOff
        self.handle.seek(offset)
        return struct.unpack(f"{self.order}{count}{kind}", self.handle.read(length))

    def directory(self, offset: int) -> tuple[dict[int, tuple[int, ...]], int]:
        """The followed tags of the directory at an offset, and the offset of the next one (0 = none)."""
        pointer = "Q" if self.is_big else "I"
        width = struct.calcsize(pointer)
        entry_bytes = 4 + 2 * width
        count = "Q" if self.is_big else "H"
        (entries,) = self.unpack(offset, 1, count)
        first = offset + struct.calcsize(count)
        (following,) = self.unpack(first + entries * entry_bytes, 1, pointer)
        tags = {}
        for at in range(first, first + entries * entry_bytes, entry_bytes):
            tag, field_type = self.unpack(at, 2, "H")
            if tag in FOLLOWED and field_type in INTEGERS:
                (length,) = self.unpack(at + 4, 1, pointer)
                kind = INTEGERS[field_type]
                is_inline = length * struct.calcsize(kind) <= width
                values_at = at + 4 + width if is_inline else self.unpack(at + 4 + width, 1, pointer)[0]
                tags[tag] = self.unpack(values_at, length, kind)
        return tags, following


def is_tiff(head: bytes) -> bool:
    """Whether a file starts as TIFF or BigTIFF does, in either byte order."""
    return head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def is_whole(path: Path) -> bool:
    """Whether all directories, sub-directories, strips and tiles of a TIFF file lie within it."""
    with open(path, "rb") as handle:
        head = handle.read(4)
        reader = _Reader(handle, path.stat().st_size, "<" if head[:2] == b"II" else ">", b"+" in head)
        try:
            ahead = list(reader.unpack(8, 1, "Q") if reader.is_big else reader.unpack(4, 1, "I"))
            seen: set[int] = set()
            while ahead:
                offset = ahead.pop()
                if offset == 0 or offset in seen:
                    continue
                seen.add(offset)
                tags, following = reader.directory(offset)
                ahead += [following, *tags.get(SUB_DIRECTORIES, ())]
                for starts, lengths in ((STRIP_OFFSETS, STRIP_BYTES), (TILE_OFFSETS, TILE_BYTES)):
                    pieces = zip(tags.get(starts, ()), tags.get(lengths, ()), strict=False)
                    if any(start + length > reader.size for start, length in pieces):
                        return False
        except _CutOff:
            return False
    return bool(seen)
