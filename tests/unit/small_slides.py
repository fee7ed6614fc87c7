"""Small simulated slides in containers for which no library here has a writer: Zeiss CZI and Hamamatsu NDPI."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
from PIL import Image

BGR24, UNCOMPRESSED = 3, 0
GUID = bytes(16)


def _segment(name: bytes, data: bytes) -> bytes:
    data += bytes(-len(data) % 32)
    return name.ljust(16, b"\0") + struct.pack("<qq", len(data), len(data)) + data


def _entry(place: int, left: int, top: int, width: int, height: int, index: int) -> bytes:
    axes = ((b"X", left, width), (b"Y", top, height), (b"C", 0, 1), (b"M", index, 1))
    head = b"DV" + struct.pack("<iqiiB5xi", BGR24, place, 0, UNCOMPRESSED, 0, len(axes))
    return head + b"".join(struct.pack("<4siifi", axis, start, size, 0.0, size) for axis, start, size in axes)


def write_czi(path: Path, rgb: np.ndarray, pixel_size_um: float, tile_px: int = 200) -> None:
    """A mosaic of uncompressed subblocks that begins at 1000, 500, as scanners' do; layout of the published ZISRAW."""
    xml = (
        '<ImageDocument><Metadata><Scaling><Items><Distance Id="X">'
        f"<Value>{pixel_size_um * 1e-6}</Value></Distance></Items></Scaling></Metadata></ImageDocument>"
    ).encode()
    height, width = rgb.shape[:2]
    header_bytes = 32 + 512
    blocks, entries, place = b"", [], header_bytes
    corners = [(x, y) for y in range(0, height, tile_px) for x in range(0, width, tile_px)]
    for index, (x, y) in enumerate(corners):
        tile = np.ascontiguousarray(rgb[y : y + tile_px, x : x + tile_px, ::-1])
        entry = _entry(place, 1000 + x, 500 + y, tile.shape[1], tile.shape[0], index)
        head = (struct.pack("<iiq", 0, 0, tile.nbytes) + entry).ljust(256, b"\0")
        block = _segment(b"ZISRAWSUBBLOCK", head + tile.tobytes())
        entries.append(entry)
        blocks += block
        place += len(block)
    metadata = _segment(b"ZISRAWMETADATA", struct.pack("<ii248x", len(xml), 0) + xml)
    directory = _segment(b"ZISRAWDIRECTORY", struct.pack("<i124x", len(entries)) + b"".join(entries))
    where = struct.pack("<iiii16s16siqqiq", 1, 0, 0, 0, GUID, GUID, 0, place + len(metadata), place, 0, 0)
    path.write_bytes(_segment(b"ZISRAWFILE", where.ljust(512, b"\0")) + blocks + metadata + directory)


def write_ndpi(path: Path, rgb: np.ndarray, pixel_size_um: float) -> None:
    """One level as one JPEG, in a TIFF whose offsets have their upper halves behind the directory: Hamamatsu's way."""
    jpeg = io.BytesIO()
    Image.fromarray(rgb).save(jpeg, "jpeg", quality=95)
    packed = jpeg.getvalue()
    height, width = rgb.shape[:2]
    per_cm, maker = round(1e4 / pixel_size_um), b"Hamamatsu\0"
    short, long, ratio, text, single, signed = 3, 4, 5, 2, 11, 9
    data_at = 16
    ratio_at = data_at + len(packed)
    maker_at = ratio_at + 8
    directory_at = maker_at + len(maker)
    lens = int.from_bytes(struct.pack("<f", 20.0), "little")
    entries = [
        (256, long, 1, width),
        (257, long, 1, height),
        (258, short, 1, 8),
        (259, short, 1, 7),
        (262, short, 1, 6),
    ]
    entries += [(271, text, len(maker), maker_at), (273, long, 1, data_at), (277, short, 1, 3), (278, long, 1, height)]
    entries += [(279, long, 1, len(packed)), (282, ratio, 1, ratio_at), (283, ratio, 1, ratio_at), (296, short, 1, 3)]
    entries += [
        (65420, long, 1, 1),
        (65421, single, 1, lens),
        (65422, signed, 1, 0),
        (65423, signed, 1, 0),
        (65424, signed, 1, 0),
    ]
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    directory += bytes(8) + bytes(4 * len(entries))
    content = struct.pack("<2sHQ", b"II", 42, directory_at).ljust(data_at, b"\0") + packed
    path.write_bytes(content + struct.pack("<II", per_cm, 1) + maker + directory)
