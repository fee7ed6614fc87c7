"""JPEG 2000 files (.jp2, .j2k), which are decoded as a whole, once, when their first px is asked for."""

from __future__ import annotations

import threading
from pathlib import Path

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from spotweave.errors import Refusal
from spotweave.pictures.virtual_tiff import TileDamaged, Tiles

MARKS = (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")
SIZES = b"\xff\x4f\xff\x51"
LOOK_BYTES = 1 << 20
PIXELS_MAX = 60e6  # the decoder holds every sample in 32 bits, and more than once
ROWS = 256


def open_jpeg2000(path: Path) -> Tiles:
    """The picture in strips.

    Raises
    ------
    Refusal
        It is no JPEG 2000 file, or so large that it is not decoded as a whole.
    """
    with path.open("rb") as file:
        head = file.read(LOOK_BYTES)
    start = head.find(SIZES)
    if start < 0 or len(head) < start + 48:
        raise Refusal(f"{path.name}: the picture cannot be decoded (no codestream of JPEG 2000); fetch it again")
    x1, y1, x0, y0 = (int.from_bytes(head[start + at : start + at + 4], "big") for at in (8, 12, 16, 20))
    bands, depth = int.from_bytes(head[start + 40 : start + 42], "big"), head[start + 42]
    width, height = x1 - x0, y1 - y0
    if width <= 0 or height <= 0 or bands not in (1, 2, 3, 4) or depth & 0x80 or depth > 15:
        raise Refusal(f"{path.name}: the picture cannot be decoded (its header is damaged); fetch it again")
    if width * height > PIXELS_MAX:
        raise Refusal(
            f"{path.name}: {width:,} x {height:,} px in a JPEG 2000 file, which is decoded as a whole, so that at most"
            f" {PIXELS_MAX:.0e} px are read; save it as tiled TIFF",
            measured=width * height,
            threshold=PIXELS_MAX,
        )
    dtype = np.dtype(np.uint8 if depth < 8 else np.uint16)
    whole: list[NDArray] = []
    one_at_a_time = threading.Lock()

    def decode(_: int, row: int) -> NDArray:
        with one_at_a_time:
            if not whole:
                try:
                    found = imagecodecs.jpeg2k_decode(path.read_bytes())
                except (RuntimeError, ValueError) as error:
                    raise TileDamaged(" ".join(str(error).split())[:150]) from error
                if found.shape[:2] != (height, width) or found.dtype != dtype:
                    raise TileDamaged("the picture is not what its header says")
                whole.append(found.reshape(height, width, -1))
        part = whole[0][row * ROWS : (row + 1) * ROWS]
        return np.pad(part, ((0, ROWS - len(part)), (0, 0), (0, 0)))

    return Tiles(path, width, height, bands, dtype, width, ROWS, is_rgb=bands >= 3, decode=decode)
