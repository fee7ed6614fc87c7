"""Any deposited picture opened as 8-bit RGB with the colours it was filed in, or refused by what is wrong with it.

One place for all that read pictures. The header is held against the file's size before anything is decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyvips

from spotweave.errors import Refusal
from spotweave.pictures import czi, jpeg2000, kinds, scanners
from spotweave.pictures.colours import as_rgb, in_srgb, profile_of
from spotweave.pictures.pages import Page, undecodable
from spotweave.pictures.png_rows import check_png_rows
from spotweave.pictures.samples import eight_bits
from spotweave.pictures.tiff_pages import choose
from spotweave.pictures.tiff_parts import check_tiff_parts
from spotweave.pictures.tiff_tags import TiffTags, read_tags
from spotweave.pictures.virtual_tiff import Tiles

__all__ = ["Level", "Picture", "as_rgb", "open_picture", "undecodable"]

# The largest whole-slide scans have 3e10 px.
PIXELS_MAX = 4e10
# Deflate packs at most 1,030 to 1; JPEG of one colour 200 to 1.
UNPACKED_TO_PACKED_MAX = 2000
SMALL_BYTES = 64 << 20  # below this any ratio is harmless
# Progressive JPEG and interlaced PNG are decoded as a whole.
WHOLE_BYTES_MAX = 2e9
UPRIGHT = 1


@dataclass(frozen=True)
class Level:
    """The picture reduced, as the file holds it; `load` opens it as 8-bit RGB."""

    width_px: int
    load: Callable[[], pyvips.Image]


@dataclass(frozen=True)
class Picture:
    """An opened picture.

    Attributes
    ----------
    image
        (H, W) px, 3 bands, uchar, sRGB; streams once from top to bottom.
    description
        Text of the page's description tag, None where there is none.
    xres, yres
        Pixels per mm by the scanner's statement or the resolution tag, 1 where there is none in a measure of length.
    levels
        The same picture reduced, as the file holds it; empty where colours must be converted.
    note
        What was chosen, converted or left out, in words; None where there was nothing to choose.
    is_plain
        Whether the file's first page is the picture, in 8 bits, so that any decoder shows the same.
    page
        The page of a TIFF that libvips decodes as the picture, None where there is none.
    is_unchanged
        Whether the samples of `image` are that page's.
    """

    image: pyvips.Image
    description: str | None
    xres: float
    yres: float
    levels: tuple[Level, ...]
    note: str | None
    is_plain: bool
    is_tiff: bool
    page: int | None = None
    is_unchanged: bool = False


def open_picture(path: Path) -> Picture:
    """Open the largest page of a picture file; of an OME-TIFF of three pages red, green and blue, these together.

    Px are taken as filed: a tag that says to turn the picture is noted and not followed, since coordinates are those of
    the px in the file. Colours of a profile that is not sRGB are converted.

    Raises
    ------
    Refusal
        When the file is no picture that can be decoded, when it announces more than it can hold, or when its samples
        are not colours as they stand (16-bit samples that use fewer bits, a fourth band that is not opacity, grey
        pages of which none is the picture).
    """
    try:
        return _open(path)
    except pyvips.Error as error:
        raise undecodable(path, error) from error


def _open(path: Path) -> Picture:
    head = kinds.first_bytes(path)
    if kinds.is_czi(head):
        slide = czi.open_czi(path)
        return _of_tiles(path, slide.levels, slide.pixel_size_um, None, "read by libCZI")
    if kinds.is_jpeg2000(head):
        return _of_tiles(path, [jpeg2000.open_jpeg2000(path)], None, None, None)
    tags = read_tags(path) if kinds.is_tiff(head) else None
    if kinds.is_for_openslide(path, head, tags):
        scanned = scanners.open_scanned(path)
        note = f"read by OpenSlide ({scanned.vendor})"
        return _of_tiles(path, scanned.levels, scanned.pixel_size_um, scanned.icc_profile, note)
    kinds.check_kind(path, head)
    if kinds.is_tiff(head):
        return _of_tiff(path, tags)
    page = Page(path)
    image = page.load()
    _check_size(path, image)
    check_png_rows(path)
    notes = _orientation(image)
    eight, left_out = eight_bits(path, page.load, image, is_opacity=True)
    rgb, converted = in_srgb(eight, profile_of(image))
    is_plain = image.format == "uchar" and not left_out and not converted
    return Picture(rgb, None, image.xres, image.yres, (), _said(*notes, left_out, converted), is_plain, is_tiff=False)


def _of_tiles(
    path: Path, levels: Sequence[Tiles], pixel_size_um: float | None, profile: bytes | None, note: str | None
) -> Picture:
    full, *smaller = [Page(path, tiles=tiles) for tiles in levels]
    image = full.load()
    _check_size(path, image, is_one_file=note is None)
    eight, left_out = eight_bits(path, full.load, image, is_opacity=True)
    rgb, converted = in_srgb(eight, profile)
    keeps = image.format == "uchar" and not converted
    per_mm = 1000.0 / pixel_size_um if pixel_size_um else 1.0
    return Picture(
        image=rgb,
        description=None,
        xres=per_mm,
        yres=per_mm,
        levels=_levels([page.load for page in smaller]) if keeps else (),
        note=_said(note, left_out, converted),
        is_plain=False,
        is_tiff=False,
    )


def _of_tiff(path: Path, tags: TiffTags | None) -> Picture:
    def check(number: int, image: pyvips.Image) -> None:
        _check_size(path, image)
        check_tiff_parts(path, number, (image.width, image.height))

    chosen = choose(path, tags, check)
    image = chosen.load()
    eight, left_out = eight_bits(path, chosen.load, image, chosen.is_opacity)
    header = chosen.header
    rgb, converted = in_srgb(eight, None if header is None else profile_of(header))
    is_8_bit = image.format == "uchar" and not left_out and not converted
    xres, yres = (1.0, 1.0) if header is None else _per_mm(header)
    turned = [] if header is None else _orientation(header)
    return Picture(
        image=rgb,
        description=chosen.description,
        xres=xres,
        yres=yres,
        levels=_levels(chosen.levels) if is_8_bit else (),
        note=_said(*chosen.notes, *turned, left_out, converted),
        is_plain=is_8_bit and chosen.is_first and chosen.page is not None,
        is_tiff=True,
        page=None if chosen.page is None else chosen.page.number,
        is_unchanged=is_8_bit and image.bands == 3,
    )


def _levels(loads: Sequence[Callable[[], pyvips.Image]]) -> tuple[Level, ...]:
    """Levels whose header can be read; the picture itself needs none."""
    found = []
    for load in loads:
        try:
            width = load().width
        except pyvips.Error:
            continue
        found.append(Level(width, partial(_as_rgb_of, load)))
    return tuple(found)


def _as_rgb_of(load: Callable[[], pyvips.Image]) -> pyvips.Image:
    return as_rgb(load())


def _said(*notes: str | None) -> str | None:
    return "; ".join(note for note in notes if note) or None


def _per_mm(image: pyvips.Image) -> tuple[float, float]:
    """Of a TIFF, along x and y; 1 where its tags have numbers without a measure, which libvips gives as they are."""
    return (image.xres, image.yres) if image.get_typeof("resolution-unit") else (1.0, 1.0)


def _orientation(image: pyvips.Image) -> list[str]:
    turned = image.get("orientation") if image.get_typeof("orientation") else UPRIGHT
    return [] if turned == UPRIGHT else [f"px as filed: the tag that says to turn them ({turned}) is not followed"]


def _check_size(path: Path, page: pyvips.Image, is_one_file: bool = True) -> None:
    """Hold what is announced against the file; of a slide of several files, the largest alone."""
    pixels = page.width * page.height
    size_bytes = path.stat().st_size
    unpacked = pixels * page.bands * np.dtype(_numpy_type(page.format)).itemsize
    shown = f"{path.name}: {page.width:,} x {page.height:,} px are announced"
    if pixels > PIXELS_MAX:
        raise Refusal(f"{shown}, at most {PIXELS_MAX:.0e} px are read", measured=pixels, threshold=PIXELS_MAX)
    if is_one_file and unpacked > SMALL_BYTES and unpacked > UNPACKED_TO_PACKED_MAX * size_bytes:
        raise Refusal(
            f"{shown} by a file of {size_bytes:,} bytes, which cannot hold them; fetch it again",
            measured=round(unpacked / size_bytes),
            threshold=UNPACKED_TO_PACKED_MAX,
        )
    whole = any(page.get_typeof(name) and page.get(name) for name in ("interlaced", "jpeg-multiscan"))
    if whole and unpacked > WHOLE_BYTES_MAX:
        raise Refusal(
            f"{shown} in a progressive picture, which is decoded as a whole; save it as tiled TIFF",
            measured=unpacked,
            threshold=WHOLE_BYTES_MAX,
        )


def _numpy_type(form: str) -> str:
    kinds_of = {"uchar": "u1", "char": "i1", "ushort": "u2", "short": "i2", "uint": "u4", "int": "i4", "float": "f4"}
    return kinds_of.get(form, "f8")
