"""A person's slide: its size of a pixel, its tissue, and a pyramid that patches are cut from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spotweave.errors import Refusal
from spotweave.pictures.header import read_header
from spotweave.pictures.pixel_sizes import TOLERANCE, difference, explain, explain_value

if TYPE_CHECKING:
    import shapely

READS = ("config/config.yaml",)
CONFIGURATION = Path(__file__).resolve().parents[3] / READS[0]
ICC_PROFILE = 34675


@dataclass(frozen=True)
class OwnSlide:
    """A slide as it was given.

    Attributes
    ----------
    path
        The picture.
    width_px, height_px
        Of its full resolution.
    pixel_size_um, pixel_size_from
        um a pixel, and `stated` or `tag`.
    remark
        What is to be said of it; empty for nothing.
    """

    path: Path
    width_px: int
    height_px: int
    pixel_size_um: float
    pixel_size_from: str
    remark: str


def open_slide(path: Path, stated_um: float | None, *, state_it: str = "--pixel-size-um") -> OwnSlide:
    """Look at a slide's head.

    Parameters
    ----------
    state_it
        Where a person states the size of a pixel, for the message.

    Raises
    ------
    Refusal
        If it is no picture, or neither the file nor the person says how large a pixel is.
    """
    if not path.is_file():
        raise Refusal(f"{path}: no such file")
    header = read_header(path)
    tag_um = header.pixel_size_um
    known = explain_value(tag_um) if tag_um else ""
    if stated_um is None and (tag_um is None or known):
        says = f"says {tag_um:.4g} um a pixel, which is {known}" if tag_um else "does not say how large a pixel is"
        raise Refusal(f"{path.name} {says}: state it, {state_it}")
    remark = ""
    if stated_um is not None and tag_um is not None and not known and difference(stated_um, tag_um) > TOLERANCE["tag"]:
        why = explain(stated_um / tag_um)
        remark = f"the file says {tag_um:.4g} um a pixel, {stated_um:.4g} um were stated{why and f' ({why}?)'}"
    remarks = [one for one in (header.note, remark) if one]
    size_um, come_from = (stated_um, "stated") if stated_um is not None else (tag_um, "tag")
    assert size_um is not None
    return OwnSlide(path, header.width_px, header.height_px, size_um, come_from, "; ".join(remarks))


def tissue_of(slide: OwnSlide, configuration: Path = CONFIGURATION) -> list[shapely.Polygon]:
    """Outlines of the tissue, px of the slide, found and judged as those of samples are.

    Raises
    ------
    Refusal
        If there is none, or the picture is no H&E.
    """
    from spotweave.tissue.section import find_tissue

    limits = _configured(configuration)["limits"]
    nothing = np.empty((0, 2))
    found = find_tissue(
        *(slide.path, slide.pixel_size_um, nothing, np.empty(0), 0.0, limits), min_hole_um2=50_000.0, simplify_um=4.0
    )
    return found.outlines


def pyramid_of(slide: OwnSlide, folder: Path, how: Mapping[str, Any] | None = None) -> Path:
    """The slide as a pyramid that patches are cut from: itself, or one built in `folder`, streaming.

    Parameters
    ----------
    how
        `tile_px` and `jpeg_quality`; None for those of `config/config.yaml`, which samples have.
    """
    from spotweave.slide.pyramid import build_pyramid

    if is_pyramid(slide.path):
        return slide.path
    target = folder / "slide.tif"
    build_pyramid(slide.path, target, pixel_size_um=slide.pixel_size_um, **(how or _configured(CONFIGURATION)["slide"]))
    return target


def is_pyramid(path: Path) -> bool:
    """Whether a file is a pyramid as written here: tiled RGB of 8 bits, each page half of the one before."""
    import tifffile

    try:
        with tifffile.TiffFile(path, is_ome=False) as tiff:
            pages = [page.aspage() for page in tiff.pages]
    except (tifffile.TiffFileError, OSError, ValueError):
        return False
    first = pages[0]
    return len(pages) > 1 and all(
        page.is_tiled
        and page.samplesperpixel == 3
        and page.dtype == np.uint8
        and ICC_PROFILE not in page.tags
        and (page.imagewidth, page.imagelength) == (first.imagewidth >> level, first.imagelength >> level)
        for level, page in enumerate(pages)
    )


def _configured(path: Path) -> dict[str, Any]:
    from spotweave.tables.config import read

    content, faults = read(path)
    if faults:
        raise Refusal(faults[0])
    return content
