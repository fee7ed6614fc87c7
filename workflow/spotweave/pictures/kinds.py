"""What kind of file a picture is, by its first bytes; which reader it needs, or which package would bring one."""

from __future__ import annotations

from pathlib import Path

import pyvips

from spotweave.errors import Refusal
from spotweave.pictures import czi, jpeg2000, scanners
from spotweave.pictures.tiff_tags import TiffTags

# Of formats with parsers made for pictures alone: no SVG, PDF or ImageMagick, which read other files or run scripts.
LOADERS = ("Jpeg", "Png", "Tiff", "Webp")
TIFF_MARKS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
HEAD_BYTES = 256
# What no package of this installation reads: by mark or ending, and what does.
ELSEWHERE = (
    (b"\xda\xce\xbe\x0a", ".nd2", "a Nikon ND2; the package nd2 reads it"),
    (b"\x70\0\0\0", ".lif", "a Leica LIF; the package readlif reads it"),
    (None, ".vsi", "an Olympus VSI, whose px lie in a folder beside it; Bio-Formats (bfconvert) reads it"),
    (None, ".oir", "an Olympus OIR; Bio-Formats (bfconvert) reads it"),
    (b"\xff\x0a", ".jxl", "a JPEG XL; djxl (libjxl) reads it"),
    (b"\0\0\0\x0cJXL ", ".jxl", "a JPEG XL; djxl (libjxl) reads it"),
    (b"BM", ".bmp", "a BMP; any picture editor reads it"),
)


def first_bytes(path: Path) -> bytes:
    """Up to 256 bytes.

    Raises
    ------
    Refusal
        There is no such file, or it is empty.
    """
    if not path.is_file() or path.stat().st_size == 0:
        raise Refusal(f"{path.name}: the picture cannot be decoded (the file is empty); fetch it again")
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)


def is_tiff(head: bytes) -> bool:
    return head[:4] in TIFF_MARKS


def is_for_openslide(path: Path, head: bytes, tags: TiffTags | None) -> bool:
    """Whether only OpenSlide makes a slide of the file; `tags` are those of a TIFF."""
    if not is_tiff(head):
        return scanners.is_for_openslide(path, head)
    return tags.scanner is not None if tags is not None else scanners.is_known_tiff(path)


def is_czi(head: bytes) -> bool:
    return head.startswith(czi.MARK)


def is_jpeg2000(head: bytes) -> bool:
    return head.startswith(jpeg2000.MARKS)


def check_kind(path: Path, head: bytes) -> None:
    """Refuse what libvips would open by a parser that reads other files or runs scripts, and what nobody here reads."""
    for mark, suffix, said in ELSEWHERE:
        if path.suffix.lower() == suffix and (mark is None or head.startswith(mark)):
            raise Refusal(f"{path.name}: {said}, this installation does not; convert it to TIFF")
    found = pyvips.vips_lib.vips_foreign_find_load(str(path).encode())
    if found == pyvips.ffi.NULL:
        raise Refusal(
            f"{path.name}: the picture cannot be decoded (not a known format); fetch it again or convert it to TIFF"
        )
    loader = pyvips.ffi.string(found).decode()
    if not any(name in loader for name in LOADERS):
        kind = loader.removeprefix("VipsForeignLoad").removesuffix("File")
        raise Refusal(f"{path.name}: {kind} is no format of slides; convert it to TIFF, PNG or JPEG")
