"""Small simulated slides in containers for which no library here has a writer: Zeiss CZI, Hamamatsu NDPI, DICOM."""

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


def _element(group: int, element: int, kind: bytes, value: bytes) -> bytes:
    """Explicit little-endian, as DICOM PS3.5 section 7.1 has it."""
    value += (b"\0" if kind in (b"UI", b"OB") else b" ") * (len(value) % 2)
    head = struct.pack("<HH2s", group, element, kind)
    is_long = kind in (b"OB", b"SQ")
    return head + (struct.pack("<xxI", len(value)) if is_long else struct.pack("<H", len(value))) + value


def _sequence(group: int, element: int, item: bytes) -> bytes:
    return _element(group, element, b"SQ", struct.pack("<HHI", 0xFFFE, 0xE000, len(item)) + item)


def write_dicom(path: Path, rgb: np.ndarray, pixel_size_um: float, tile_px: int = 128) -> None:
    """One level of a whole-slide image: frames of JPEG in full tiles (DICOM PS3.3 section A.32.8)."""
    height, width = rgb.shape[:2]
    across, down = -(-width // tile_px), -(-height // tile_px)
    padded = np.pad(rgb, ((0, down * tile_px - height), (0, across * tile_px - width), (0, 0)), mode="edge")
    frames = b""
    for row in range(down):
        for column in range(across):
            jpeg, top, left = io.BytesIO(), row * tile_px, column * tile_px
            Image.fromarray(padded[top : top + tile_px, left : left + tile_px]).save(jpeg, "jpeg", quality=95)
            packed = jpeg.getvalue() + b"\0" * (len(jpeg.getvalue()) % 2)
            frames += struct.pack("<HHI", 0xFFFE, 0xE000, len(packed)) + packed
    kind, syntax, series = b"1.2.840.10008.5.1.4.1.1.77.1.6", b"1.2.840.10008.1.2.4.50", b"1.2.3.4"
    meta = _element(2, 1, b"OB", b"\0\1") + _element(2, 2, b"UI", kind) + _element(2, 3, b"UI", b"1.2.3.4.5")
    meta += _element(2, 0x10, b"UI", syntax) + _element(2, 0x12, b"UI", b"1.2.3")
    mm = f"{pixel_size_um / 1000:.8f}".encode()
    measures = _sequence(0x28, 0x9110, _element(0x28, 0x30, b"DS", mm + b"\\" + mm))

    def number(group: int, element: int, value: int) -> bytes:
        return _element(group, element, b"US", struct.pack("<H", value))

    def large(element: int, value: int) -> bytes:
        return _element(0x48, element, b"UL", struct.pack("<I", value))

    body = _element(8, 8, b"CS", b"ORIGINAL\\PRIMARY\\VOLUME\\NONE") + _element(8, 0x16, b"UI", kind)
    body += _element(8, 0x18, b"UI", b"1.2.3.4.5") + _element(8, 0x60, b"CS", b"SM")
    body += _element(0x20, 0xD, b"UI", b"1.2.3.3") + _element(0x20, 0xE, b"UI", series)
    body += _element(0x20, 0x9311, b"CS", b"TILED_FULL")
    body += number(0x28, 2, 3) + _element(0x28, 4, b"CS", b"YBR_FULL_422") + number(0x28, 6, 0)
    body += _element(0x28, 8, b"IS", str(across * down).encode()) + number(0x28, 0x10, tile_px)
    body += number(0x28, 0x11, tile_px) + number(0x28, 0x100, 8) + number(0x28, 0x101, 8) + number(0x28, 0x102, 7)
    body += number(0x28, 0x103, 0) + large(6, width) + large(7, height) + large(0x303, 1)
    body += _sequence(0x5200, 0x9229, measures)
    offsets = struct.pack("<HHI", 0xFFFE, 0xE000, 0)
    body += struct.pack("<HH2sxxI", 0x7FE0, 0x10, b"OB", 0xFFFFFFFF) + offsets + frames
    body += struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    length = _element(2, 0, b"UL", struct.pack("<I", len(meta)))
    path.write_bytes(bytes(128) + b"DICM" + length + meta + body)
