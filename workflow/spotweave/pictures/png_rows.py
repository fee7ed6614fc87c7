"""Whether a PNG holds the pixels its header announces: decoders stop at the announced rows, whatever follows."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

from spotweave.errors import Refusal

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
AT_ONCE = 1 << 20


def check_png_rows(path: Path) -> None:
    """Hold the pixels of a PNG against its header; any other file passes, and so does an interlaced one.

    Reads in pieces of 1 MB. Damage that the decoder itself sees (checksums, a cut) is left to it.

    Raises
    ------
    Refusal
        There are more bytes of pixels than width, height and depth make; too few the decoder itself refuses.
    """
    with open(path, "rb") as file:
        head = file.read(33)
        if not head.startswith(SIGNATURE) or head[12:16] != b"IHDR":
            return
        width, height, bits, colour, _, _, interlaced = struct.unpack(">IIBBBBB", head[16:29])
        if interlaced or colour not in CHANNELS:
            return
        expected = height * (1 + (width * bits * CHANNELS[colour] + 7) // 8)
        packed, found = zlib.decompressobj(), 0
        while len(start := file.read(8)) == 8 and start[4:] != b"IEND":
            left = int.from_bytes(start[:4], "big")
            if start[4:] != b"IDAT":
                file.seek(left + 4, 1)
                continue
            while left > 0 and found <= expected:
                piece = file.read(min(left, AT_ONCE))
                if not piece:
                    return
                left -= len(piece)
                try:
                    while piece and found <= expected:
                        found += len(packed.decompress(piece, AT_ONCE))
                        piece = packed.unconsumed_tail
                except zlib.error:
                    return
            if found > expected:
                break  # a stream may unpack to anything
            file.seek(4, 1)
    if found > expected:
        raise Refusal(
            f"{path.name}: {width} x {height} px by its header, and it holds more than that; the header is damaged,"
            " download it again",
            measured=found,
            threshold=expected,
        )
