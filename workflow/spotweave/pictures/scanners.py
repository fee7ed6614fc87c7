"""Slides of scanners whose files only OpenSlide understands: Hamamatsu, MIRAX, Leica, Philips, Ventana, DICOM …"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from spotweave.errors import Refusal
from spotweave.pictures.virtual_tiff import TileDamaged, Tiles

if TYPE_CHECKING:
    import openslide

TILE_PX = 1024
DICOM_MARK_AT = 128
SUFFIXES = (".mrxs", ".vms", ".vmu")  # of lists of files; TIFFs of scanners are told by their tags
SQLITE_MARK = b"SQLite format 3\0"
# Lists of file names: where they lead is looked at before OpenSlide follows them.
LISTS = {".mrxs": "Slidedat.ini", ".vms": None, ".vmu": None}
LIST_BYTES_MAX = 4 << 20
FILE_NAMED = re.compile(
    r"^\s*(?:FILE_\d+|INDEXFILE|ImageFile[^=]*|MapFile|OptimisationFile|MacroImage)\s*=\s*(.*?)\s*$", re.M
)


@dataclass(frozen=True)
class ScannedSlide:
    """Its levels, the first in full size; um a px as the scanner says, None where it does not; who made it."""

    levels: tuple[Tiles, ...]
    pixel_size_um: float | None
    vendor: str
    icc_profile: bytes | None


def is_for_openslide(path: Path, head: bytes) -> bool:
    """By the file's first bytes (at least 132) or the ending that its scanner gives it."""
    is_dicom = head[DICOM_MARK_AT : DICOM_MARK_AT + 4] == b"DICM"
    return is_dicom or path.suffix.lower() in SUFFIXES or (head.startswith(SQLITE_MARK))


def is_known_tiff(path: Path) -> bool:
    """Whether OpenSlide tells a TIFF for that of a scanner whose pages libvips does not put together."""
    import openslide

    return openslide.OpenSlide.detect_format(path) not in (None, "aperio", "generic-tiff")


def open_scanned(path: Path) -> ScannedSlide:
    """Open a slide with OpenSlide; transparent px, where nothing was scanned, are white.

    Raises
    ------
    Refusal
        OpenSlide does not read it, also when the files that it consists of are not beside it.
    """
    import openslide

    _check_list(path)
    try:
        slide = openslide.OpenSlide(path)
    except (openslide.OpenSlideError, OSError) as error:
        said = " ".join(str(error).split())[:200]
        parts = "; it consists of several files, which must lie beside it" if _consists_of_files(path) else ""
        raise Refusal(
            f"{path.name}: the picture cannot be decoded (OpenSlide: {said}){parts}; fetch it again or convert it to"
            " TIFF"
        ) from error
    said_um = slide.properties.get(openslide.PROPERTY_NAME_MPP_X)
    vendor = slide.properties.get(openslide.PROPERTY_NAME_VENDOR, "unknown")
    profile = slide.color_profile
    return ScannedSlide(
        levels=tuple(_level(path, slide, number) for number in range(slide.level_count)),
        pixel_size_um=float(said_um) if said_um and re.fullmatch(r"[0-9.eE+-]+", said_um) else None,
        vendor=vendor,
        icc_profile=None if profile is None else profile.tobytes(),
    )


def _level(path: Path, slide: openslide.OpenSlide, number: int) -> Tiles:
    width, height = slide.level_dimensions[number]
    scale = slide.level_downsamples[number]

    def decode(column: int, row: int) -> NDArray:
        import openslide

        place = (round(column * TILE_PX * scale), round(row * TILE_PX * scale))
        try:
            region = slide.read_region(place, number, (TILE_PX, TILE_PX))
        except openslide.OpenSlideError as error:
            raise TileDamaged(
                f"tile {column}, {row} of level {number}: {' '.join(str(error).split())[:120]}"
            ) from error
        samples = np.asarray(region).astype(np.uint16)
        opacity = samples[..., 3:]
        return ((samples[..., :3] * opacity + 255 * (255 - opacity) + 127) // 255).astype(np.uint8)

    return Tiles(path, width, height, 3, np.dtype(np.uint8), TILE_PX, TILE_PX, is_rgb=True, decode=decode)


def _consists_of_files(path: Path) -> bool:
    return path.suffix.lower() in LISTS


def _check_list(path: Path) -> None:
    """No name in a slide's list of files may lead out of its folder: a deposit is a stranger's."""
    suffix = path.suffix.lower()
    if suffix not in LISTS:
        return
    listed = path.with_suffix("") / "Slidedat.ini" if suffix == ".mrxs" else path
    if not listed.is_file() or listed.stat().st_size > LIST_BYTES_MAX:
        return
    text = listed.read_bytes().decode("utf-8", "replace")
    for name in FILE_NAMED.findall(text):
        if "/" in name or "\\" in name or name in ("..", "."):
            raise Refusal(f"{path.name}: its list names a file outside its folder ({name[:80]}); fetch it again")
