"""Any deposited picture opened as 8-bit RGB with the colours it was filed in, or refused by what is wrong with it.

One place for all that read pictures. The header is held against the file's size before anything is decoded.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyvips
import tifffile

from spotweave.errors import Refusal
from spotweave.pictures.png_rows import check_png_rows
from spotweave.pictures.tiff_parts import check_tiff_parts

# Of formats with parsers made for pictures alone: no SVG, PDF or ImageMagick, which read other files or run scripts.
LOADERS = ("Jpeg", "Png", "Tiff", "Jp2k", "Webp", "OpenSlide")
# The largest whole-slide scans have 3e10 px.
PIXELS_MAX = 4e10
# Deflate packs at most 1,030 to 1; JPEG of one colour 200 to 1.
UNPACKED_TO_PACKED_MAX = 2000
SMALL_BYTES = 64 << 20  # below this any ratio is harmless
# Progressive JPEG and interlaced PNG are decoded as a whole.
WHOLE_BYTES_MAX = 2e9
PAGES_MAX = 2000
TIFF_MARKS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# Glass is brighter than half of what a camera can tell; samples of 15 bits and fewer never are.
HALF_OF_16_BITS = 32767
NEARLY_ALL = 0.999
# An opacity is nearly everywhere full or nothing.
OPAQUE, CLEAR, UNDECIDED_MAX = 0.98, 0.02, 0.10
RGB_NAMES = (("red", "r"), ("green", "g"), ("blue", "b"))
RGB_COLOURS = (-16776961, 16711935, 65535)  # of OME channels: signed RGBA


@dataclass(frozen=True)
class Picture:
    """An opened picture.

    Attributes
    ----------
    image
        (H, W) px, 3 bands, uchar, sRGB; streams once from top to bottom.
    description
        Text of the page's description tag, None where there is none.
    xres
        Pixels per mm by the resolution tag, 1 where there is none.
    levels
        Numbers of the pages that hold the same picture reduced by a power of two; empty where colours must be
        converted.
    note
        What was chosen or left out, in words; None where there was nothing to choose.
    is_plain
        Whether the file's first page is the picture, in 8 bits, so that any decoder shows the same.
    """

    image: pyvips.Image
    description: str | None
    xres: float
    levels: tuple[int, ...]
    note: str | None
    is_plain: bool
    is_tiff: bool
    fail_on: str


def open_picture(path: Path) -> Picture:
    """Open the largest page of a picture file; of an OME-TIFF of three pages red, green and blue, these together.

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


def undecodable(path: Path, error: Exception) -> Refusal:
    """The refusal of a file that a decoder cannot read, in one line."""
    detail = " ".join(str(error).split())[-200:]
    return Refusal(f"{path.name}: the picture cannot be decoded ({detail}); fetch it again or convert it to TIFF")


def as_rgb(picture: pyvips.Image) -> pyvips.Image:
    """An 8-bit picture as three bands, transparency laid on white."""
    if picture.hasalpha():
        picture = picture.flatten(background=[255])
    if picture.interpretation != "srgb":
        picture = picture.colourspace("srgb")
    return picture.cast("uchar") if picture.format != "uchar" else picture


def load_page(path: Path, page: int, fail_on: str = "warning") -> pyvips.Image:
    """One page as filed. Decoders go on over corrupt data with grey blocks and only warn: that counts."""
    number = {"page": page} if page else {}
    return pyvips.Image.new_from_file(str(path), access="sequential", fail_on=fail_on, **number)


def _fail_on(path: Path, page: pyvips.Image, number: int) -> str:
    """What a TIFF is decoded by: "error" where its tags alone make libtiff warn, as many scanners' do, else "warning".

    Such a file warns at every tile, a damaged one at the damaged ones: both ends of the picture are tried. Of strips
    only the first is: those below are read through it, and errors find most of their damage.
    """
    corners = ((0, 0), (page.width - 1, page.height - 1)) if page.get_typeof("tile-width") else ((0, 0),)
    access = "random" if len(corners) > 1 else "sequential"
    for x, y in corners:
        try:
            # Read anew: libvips would hand out the opened file again, which remembers that it failed.
            image = pyvips.Image.tiffload(str(path), page=number, access=access, fail_on="warning", revalidate=True)
            image.crop(x, y, 1, 1).avg()
        except pyvips.Error:
            continue
        return "warning"
    return "error"


def _is_tiff(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) in TIFF_MARKS


def _open(path: Path) -> Picture:
    _check_kind(path)
    first = load_page(path, 0)
    count = first.get("n-pages") if first.get_typeof("n-pages") else 1
    is_tiff = _is_tiff(path)
    if not is_tiff or count == 1:
        pages = [first]
    elif count > PAGES_MAX:
        raise Refusal(f"{path.name}: {count} pages, at most {PAGES_MAX} are looked at", measured=count)
    else:
        pages = [first, *(load_page(path, number) for number in range(1, count))]
    best = max(range(len(pages)), key=lambda number: (pages[number].width * pages[number].height, -number))
    _check_size(path, pages[best])
    check_png_rows(path)
    if is_tiff:
        check_tiff_parts(path, best, (pages[best].width, pages[best].height))
    fail_on = _fail_on(path, pages[best], best) if is_tiff else "warning"
    if fail_on != "warning":
        pages = [load_page(path, number, fail_on) for number in range(len(pages))]
    page = pages[best]
    alike = [p for p in pages if (p.width, p.height, p.bands) == (page.width, page.height, page.bands)]
    description = str(first.get("image-description")) if first.get_typeof("image-description") else None
    if page.bands == 1 and len(alike) > 1:
        joined = _joined(path, alike, description)
        note = "three grey pages put together as red, green and blue"
        return Picture(joined, description, page.xres, (), note, is_plain=False, is_tiff=is_tiff, fail_on=fail_on)
    notes = []
    if best:
        notes.append(f"page {best + 1} of {count} is the picture: {page.width} x {page.height} px, the largest")
    elif len(alike) > 1:
        notes.append(f"the first of {len(alike)} pages of the same size is taken")
    if fail_on != "warning":
        notes.append("tags that libtiff warns of: damage of single tiles is not seen")
    image, band_note = _eight_bits(path, best, page, is_tiff)
    if band_note:
        notes.append(band_note)
    is_8_bit = page.format == "uchar" and not band_note
    levels = tuple(n for n in range(best + 1, len(pages)) if _is_reduced(page, pages[n])) if is_8_bit else ()
    if best and page.get_typeof("image-description"):
        description = str(page.get("image-description"))
    return Picture(
        image, description, page.xres, levels, "; ".join(notes) or None, is_8_bit and best == 0, is_tiff, fail_on
    )


def _check_kind(path: Path) -> None:
    if not path.is_file() or path.stat().st_size == 0:
        raise Refusal(f"{path.name}: the picture cannot be decoded (the file is empty); fetch it again")
    found = pyvips.vips_lib.vips_foreign_find_load(str(path).encode())
    if found == pyvips.ffi.NULL:
        raise Refusal(
            f"{path.name}: the picture cannot be decoded (not a known format); fetch it again or convert it to TIFF"
        )
    loader = pyvips.ffi.string(found).decode()
    if not any(name in loader for name in LOADERS):
        kind = loader.removeprefix("VipsForeignLoad").removesuffix("File")
        raise Refusal(f"{path.name}: {kind} is no format of slides; convert it to TIFF, PNG or JPEG")


def _check_size(path: Path, page: pyvips.Image) -> None:
    pixels = page.width * page.height
    size_bytes = path.stat().st_size
    unpacked = pixels * page.bands * np.dtype(_numpy_type(page.format)).itemsize
    shown = f"{path.name}: {page.width:,} x {page.height:,} px are announced"
    if pixels > PIXELS_MAX:
        raise Refusal(f"{shown}, at most {PIXELS_MAX:.0e} px are read", measured=pixels, threshold=PIXELS_MAX)
    if unpacked > SMALL_BYTES and unpacked > UNPACKED_TO_PACKED_MAX * size_bytes:
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
    kinds = {"uchar": "u1", "char": "i1", "ushort": "u2", "short": "i2", "uint": "u4", "int": "i4", "float": "f4"}
    return kinds.get(form, "f8")


def _is_reduced(full: pyvips.Image, page: pyvips.Image) -> bool:
    """Whether a page is `full` reduced: tiled like it, sides smaller by one power of two, up to rounding.

    Scanners write the label and the macro in strips, behind the levels or before the slide.
    """
    if not (full.get_typeof("tile-width") and page.get_typeof("tile-width")):
        return False
    if page.bands != full.bands or page.format != full.format or page.width >= full.width:
        return False
    power = 2 ** round(math.log2(full.width / page.width))
    return power > 1 and abs(full.width / power - page.width) <= 1 and abs(full.height / power - page.height) <= 1


def _joined(path: Path, pages: Sequence[pyvips.Image], description: str | None) -> pyvips.Image:
    """Red, green and blue pages as one picture, where the OME description names them so."""
    channels = re.findall(r"<Channel\b[^>]{0,2000}>", (description or "")[:100_000])
    names = [_attribute(channel, "Name") for channel in channels]
    colours = [_attribute(channel, "Color") for channel in channels]
    if len(pages) == 3 and len(channels) == 3 and all(page.format == "uchar" for page in pages):
        named = [str(name).lower() for name in names]
        if all(name in allowed for name, allowed in zip(named, RGB_NAMES, strict=True)) or (
            not any(names) and colours == [str(colour) for colour in RGB_COLOURS]
        ):
            return pages[0].bandjoin(list(pages[1:])).copy(interpretation="srgb")
    count = {2: "two", 3: "three", 4: "four"}.get(len(pages), str(len(pages)))
    said = f" ({', '.join(str(name)[:40] for name in names[:8])})" if any(names) else ""
    raise Refusal(
        f"{path.name}: {count} grey pages of one size{said}, none of which is an H&E picture; if they are its red, "
        "green and blue, save them as one RGB picture",
        measured=len(pages),
    )


def _attribute(tag: str, name: str) -> str | None:
    found = re.search(rf'\s{name}="([^"]*)"', tag)
    return found[1] if found else None


def _eight_bits(path: Path, number: int, page: pyvips.Image, is_tiff: bool) -> tuple[pyvips.Image, str | None]:
    """The page as 8-bit RGB, and what was left out of it."""
    note = None
    has_colours = page.bands >= 3
    is_cmyk = page.interpretation == "cmyk"
    wanted = (4 if is_cmyk else 3) if has_colours else 1
    keep = page.bands
    if page.bands > wanted + 1:
        raise Refusal(f"{path.name}: {page.bands} bands; H&E has three, save the red, green and blue alone")
    if page.bands == wanted + 1:
        if is_tiff and _extra_samples(path, number)[:1] not in ((1,), (2,)):
            keep, note = wanted, f"band {page.bands}, which is not opacity by its tag, was left out"
        else:
            _check_opacity(path, load_page(path, number), page.bands)
    if page.format == "uchar":
        return as_rgb(page if keep == page.bands else page.extract_band(0, n=keep)), note
    if page.format not in ("ushort", "float", "double"):
        raise Refusal(f"{path.name}: samples of type {page.format}, which are no colours; save it with 8 bits a sample")
    factor = _to_eight_bits(path, number, wanted)
    scaled = page * ([factor] * wanted + [255.0 / _full_opacity(page)] * (page.bands - wanted))
    if keep != page.bands:
        scaled = scaled.extract_band(0, n=keep)
    eight = scaled.rint().cast("uchar").copy(interpretation="srgb" if has_colours else "b-w")
    return as_rgb(eight), note


def _full_opacity(page: pyvips.Image) -> float:
    return {"uchar": 255.0, "ushort": 65535.0}.get(page.format, 1.0)


def _to_eight_bits(path: Path, number: int, wanted: int) -> float:
    """What 16-bit or float samples are multiplied by; a range that leaves doubt is refused with the largest sample."""
    colours = load_page(path, number).extract_band(0, n=wanted)
    stats = colours.stats()
    low, high, total = (stats(column, 0)[0] for column in (0, 1, 2))
    if colours.format == "ushort":
        return _of_16_bits(path, int(high), load_page(path, number).extract_band(0, n=colours.bands))
    if math.isfinite(total) and low >= 0 and 0.5 < high <= 1:
        return 255.0
    if math.isfinite(total) and low >= 0 and 127 < high <= 255:
        return 1.0
    raise Refusal(
        f"{path.name}: float samples from {low:.4g} to {high:.4g}, neither 0 to 1 nor 0 to 255; save it with 8 bits a "
        "sample",
        measured=high if math.isfinite(high) else "not a number",
    )


def _of_16_bits(path: Path, largest: int, colours: pyvips.Image) -> float:
    """Single bright px (hot ones of a camera) do not make 12 bits into 16: nearly all samples are looked at."""
    counts = colours.hist_find().numpy().reshape(-1, colours.bands).sum(axis=1)
    nearly_all = int(np.searchsorted(np.cumsum(counts), NEARLY_ALL * counts.sum()))
    if nearly_all > HALF_OF_16_BITS:
        return 1 / 257
    but = f", and {NEARLY_ALL:.1%} are at most {nearly_all:,}" if largest > HALF_OF_16_BITS else ""
    raise Refusal(
        f"{path.name}: 16-bit samples of which the largest is {largest:,}{but}, so that the picture would be dark; "
        "save it with 8 bits a sample, or with all 16 bits used",
        measured=nearly_all,
        threshold=HALF_OF_16_BITS,
    )


def _check_opacity(path: Path, page: pyvips.Image, bands: int) -> None:
    """Whether the last band is full or nothing nearly everywhere, and full somewhere."""
    opacity = page.extract_band(bands - 1)
    full = _full_opacity(page)
    # One pass: how many px are opaque, how many clear.
    marks = (opacity >= OPAQUE * full).bandjoin(opacity <= CLEAR * full)
    stats = marks.cast("uchar").stats()
    opaque, clear = (stats(4, band + 1)[0] / 255 for band in (0, 1))
    undecided = 1 - opaque - clear
    if opaque == 0 or undecided > UNDECIDED_MAX:
        ordinal = {2: "second", 4: "fourth", 5: "fifth"}.get(bands, f"{bands}th")
        raise Refusal(
            f"{path.name}: a {ordinal} band that is not opacity (full at {opaque:.1%} and none at {clear:.1%} of the "
            "px); save the red, green and blue alone",
            measured=round(undecided, 4),
            threshold=UNDECIDED_MAX,
        )


def _extra_samples(path: Path, number: int) -> tuple[int, ...]:
    """The TIFF tag ExtraSamples: 0 unspecified, 1 and 2 opacity."""
    try:
        with tifffile.TiffFile(path) as file:
            page = file.pages[number].aspage()
            tag = page.tags.get("ExtraSamples")
    except (tifffile.TiffFileError, ValueError, IndexError, KeyError, OSError) as error:
        raise undecodable(path, error) from error
    if tag is None:
        return ()
    return tuple(int(value) for value in np.atleast_1d(tag.value))
